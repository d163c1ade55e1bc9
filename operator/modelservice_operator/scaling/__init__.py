"""How many replicas a service needs, decided from what its pods tell. No I/O, no clock.

policy     what an autoscaler of engine Builtin is told: target, bounds, delays
schedule   bounds that change with the time of the day or of the week
memory     what it has seen lately
demand     how many requests are worked on at a time, with the queue told apart
learning   how full a replica may be, by how the service keeps its promise
decision   the decision, with the rule that made it and a sentence
simulator  the same decision, and those of others, replayed over traces of requests
"""

from modelservice_operator.scaling.decision import Decision, Rule, decide, target
from modelservice_operator.scaling.learning import Learnt
from modelservice_operator.scaling.memory import Memory, Sample
from modelservice_operator.scaling.policy import TARGET_SHARE, Policy, Promise
from modelservice_operator.scaling.schedule import Schedule, ScheduleError

__all__ = [
    "TARGET_SHARE",
    "Decision",
    "Learnt",
    "Memory",
    "Policy",
    "Promise",
    "Rule",
    "Sample",
    "Schedule",
    "ScheduleError",
    "decide",
    "target",
]

"""One leader at a time, on a loop whose clock jumps to the next timer: minutes of lease take milliseconds."""

from __future__ import annotations

import asyncio
import copy
import selectors
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from modelservice_operator.engine.leader import Election, LostLeaseError, Timing
from modelservice_operator.kube.errors import AlreadyExists, Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from modelservice_operator.kube.resources import Body, Resource

TIMING = Timing()


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: where the loop would sleep, its time goes on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nobody will ever wake this loop"
        self.now += max(timeout, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


def play(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(story)


class Server:
    """One Lease; requests may hang, fail, or be carried out without an answer."""

    def __init__(self) -> None:
        self.lease: Body | None = None
        self.hangs = self.fails = self.loses_answers = False
        self.version = 0

    async def get(self, resource: Resource, namespace: str, name: str) -> Body:
        await self._delay()
        if self.lease is None:
            raise NotFound(f"{resource} {namespace}/{name}")
        return copy.deepcopy(self.lease)

    async def create(self, resource: Resource, body: Body) -> Body:
        del resource
        await self._delay()
        if self.lease is not None:
            raise AlreadyExists("there is one")
        return await self._store(body)

    async def replace(self, resource: Resource, body: Body) -> Body:
        del resource
        await self._delay()
        if self.lease is None:
            raise NotFound("there is none")
        if self.lease["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict("changed")
        return await self._store(body)

    async def _store(self, body: Body) -> Body:
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        if self.loses_answers:
            await asyncio.sleep(3600)
        return copy.deepcopy(self.lease)

    async def _delay(self) -> None:
        await asyncio.sleep(3600 if self.hangs else 0.01)
        if self.fails:
            raise Unavailable("gone")

    @property
    def holder(self) -> str:
        return str((self.lease or {"spec": {}})["spec"].get("holderIdentity"))


def candidate(server: Server, name: str) -> Election:
    return Election(server, "operators", "lease", name, clock=asyncio.get_running_loop().time)


class Leading:
    """A candidate that holds the lease, and renews it, inside the block."""

    def __init__(self, election: Election) -> None:
        self._election = election

    async def __aenter__(self) -> asyncio.Task[NoReturn]:
        await self._election.win()
        self._task = asyncio.create_task(self._election.hold())
        return self._task

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


def now() -> float:
    return asyncio.get_running_loop().time()


def test_the_first_candidate_makes_the_lease_and_holds_it() -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "a")
        async with Leading(election):
            assert now() < 1
            await asyncio.sleep(60)
            assert election.is_leading
            assert server.holder == "a"
            assert server.lease is not None
            assert server.lease["spec"]["leaseDurationSeconds"] == 10
            assert server.lease["spec"]["leaseTransitions"] == 0

    play(story())


def test_of_many_that_start_at_once_one_leads() -> None:
    async def story() -> None:
        server = Server()
        elections = [candidate(server, name) for name in "abcde"]
        tasks = [asyncio.create_task(election.win()) for election in elections]
        await asyncio.sleep(1)
        assert [election.is_leading for election in elections].count(True) == 1
        for task in tasks:
            task.cancel()

    play(story())


def test_while_the_leader_renews_nobody_else_leads() -> None:
    async def story() -> None:
        server = Server()
        async with Leading(candidate(server, "a")):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(300):
                    await candidate(server, "b").win()
            assert server.holder == "a"

    play(story())


@pytest.mark.parametrize("killed_after", [0.1, 0.7, 1.4, 1.6, 2.9, 3.1])
def test_a_killed_leader_is_followed_within_a_lease_and_a_retry(killed_after: float) -> None:
    async def story() -> None:
        server = Server()
        second = candidate(server, "b")
        async with Leading(candidate(server, "a")):
            wait = asyncio.create_task(second.win())
            await asyncio.sleep(30 + killed_after)
        killed = now()
        await wait
        assert TIMING.renew < now() - killed < TIMING.lease + TIMING.retry + 0.1
        assert server.lease is not None
        assert server.lease["spec"]["leaseTransitions"] == 1

    play(story())


def test_a_released_lease_is_taken_within_a_retry() -> None:
    async def story() -> None:
        server = Server()
        first, second = candidate(server, "a"), candidate(server, "b")
        async with Leading(first):
            wait = asyncio.create_task(second.win())
            await asyncio.sleep(30)
        await first.release()
        released = now()
        assert not first.is_leading
        await wait
        assert now() - released <= TIMING.retry + 0.1

    play(story())


@pytest.mark.parametrize("fault", ["hangs", "fails"])
def test_a_leader_that_cannot_renew_ends_before_the_next_may_begin(fault: str) -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "a")
        async with Leading(election) as holding:
            await asyncio.sleep(30)
            setattr(server, fault, True)
            broken = now()
            with pytest.raises(LostLeaseError, match="could not be renewed for 7 seconds"):
                await holding
            assert now() - broken <= TIMING.renew
            assert not election.is_leading

    play(story())


def test_a_leader_outlasts_an_outage_that_is_shorter_than_its_patience() -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "a")
        async with Leading(election) as holding:
            server.hangs = True
            await asyncio.sleep(5)
            server.hangs = False
            await asyncio.sleep(30)
            assert not holding.done()
            assert election.is_leading

    play(story())


def test_a_renewal_whose_answer_was_lost_is_recognised() -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "a")
        async with Leading(election) as holding:
            server.loses_answers = True
            await asyncio.sleep(4)
            server.loses_answers = False
            await asyncio.sleep(30)
            assert not holding.done()
            assert election.is_leading

    play(story())


def test_a_lease_that_another_one_took_is_lost_at_once() -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "a")
        async with Leading(election) as holding:
            await asyncio.sleep(10)
            assert server.lease is not None
            server.lease["spec"]["holderIdentity"] = "b"
            server.lease["metadata"]["resourceVersion"] = "999"
            with pytest.raises(LostLeaseError, match="'b' has it"):
                await holding
            assert now() < 13
            await election.release()  # changes nothing: it is not ours
            assert server.holder == "b"

    play(story())


def test_who_has_lost_the_lease_waits_for_it_like_any_other() -> None:
    async def story() -> None:
        server = Server()
        first, second = candidate(server, "a"), candidate(server, "b")
        await first.win()
        await asyncio.sleep(TIMING.lease)  # nobody renews
        async with Leading(second):
            with pytest.raises(LostLeaseError):
                await first.hold()
            wait = asyncio.create_task(first.win())
            await asyncio.sleep(120)
            assert not wait.done()
            assert server.holder == "b"
        await wait
        assert first.is_leading

    play(story())


def test_after_an_outage_the_holder_goes_on_at_once_if_nobody_else_has_begun() -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "a")
        async with Leading(election) as holding:
            server.fails = True
            with pytest.raises(LostLeaseError):
                await holding
        wait = asyncio.create_task(election.win())
        await asyncio.sleep(600)
        server.fails = False
        recovered = now()
        await wait
        assert now() - recovered <= TIMING.retry + 0.1

    play(story())


def test_a_lease_is_released_even_if_the_last_renewal_was_never_answered() -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "a")
        async with Leading(election):
            await asyncio.sleep(30)
            server.loses_answers = True
            await asyncio.sleep(TIMING.retry + 0.5)  # the renewal is under way
            server.loses_answers = False
            await election.release()
            assert server.holder == ""

    play(story())


def test_nothing_is_won_after_the_release() -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "a")
        wait = asyncio.create_task(election.win())
        await election.release()
        await asyncio.sleep(60)
        assert not wait.done()
        assert server.lease is None
        wait.cancel()

    play(story())


def test_that_another_one_leads_is_no_problem_but_a_lease_that_cannot_be_read_is() -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "b")
        async with Leading(candidate(server, "a")):
            wait = asyncio.create_task(election.win())
            await asyncio.sleep(60)
            assert election.problem == ""
            server.fails = True
            await asyncio.sleep(5)
            assert election.problem == "", "it may pass"
            await asyncio.sleep(TIMING.lease)
            assert election.problem == "the lease operators/lease cannot be had: gone"
            server.fails = False
            await asyncio.sleep(TIMING.retry + 0.1)
            assert election.problem == ""
            wait.cancel()

    play(story())


def test_a_deleted_lease_is_made_again() -> None:
    async def story() -> None:
        server = Server()
        election = candidate(server, "a")
        async with Leading(election):
            server.lease = None
            await asyncio.sleep(5)
            assert election.is_leading
            assert server.holder == "a"

    play(story())


def test_a_process_that_was_frozen_knows_that_it_leads_no_more() -> None:
    async def story() -> None:
        time = 0.0
        server = Server()
        election = Election(server, "operators", "lease", "a", clock=lambda: time)
        await election.win()
        assert election.is_leading
        time = 60.0  # nothing ran meanwhile, not even the renewals
        assert not election.is_leading

    play(story())

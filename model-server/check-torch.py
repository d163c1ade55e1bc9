"""Fail the image's build unless its torch can do what the model server asks of it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file

model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
rows = torch.rand(8, 64)

optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
torch.nn.functional.cross_entropy(model(rows), torch.zeros(8, dtype=torch.long)).backward()
optimizer.step()

with TemporaryDirectory() as folder, torch.inference_mode():
    weights = Path(folder, "weights.safetensors")
    save_file(model.state_dict(), weights)
    expected = model(rows)
    model.load_state_dict(load_file(weights))
    torch.testing.assert_close(model(rows), expected)
    torch.testing.assert_close(model.bfloat16()(rows.bfloat16()).float(), expected, rtol=0.1, atol=0.1)

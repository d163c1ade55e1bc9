"""What a model directory is.

A model directory holds `model.json` (the card), `weights.safetensors` and, where its maker gave one, `golden.npz`.
`card` reads the first, `digest` names the whole content, `publish` puts a directory in place all at once, `pack` makes
an archive of it, `record` tells how long it took to bring, `signature` who vouches for it.
Nothing here imports torch.
"""

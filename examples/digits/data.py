"""Write scikit-learn's handwritten digits into a folder: train.npz and held-out.npz, x = pixels and y = digits."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
pixels, digits = load_digits(return_X_y=True)  # 1,797 pictures of 8 x 8 pixels, each from 0 to 16
parts = train_test_split(pixels.astype(np.uint8), digits, test_size=0.2, stratify=digits, random_state=0)
train_x, held_out_x, train_y, held_out_y = parts
np.savez_compressed(folder / "train.npz", x=train_x, y=train_y)
np.savez_compressed(folder / "held-out.npz", x=held_out_x, y=held_out_y)

"""The broker between coordinator and agents, the keys that let them in, and the bundle that carries them."""

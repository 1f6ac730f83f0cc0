"""The pure room: standard library and msgspec only; anyone may import it."""

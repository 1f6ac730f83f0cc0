"""What every WebSocket endpoint says and hears, as one AsyncAPI 3 document.

A dialect describes itself in its `described.py`, by the structs of its schema; `document.py`
puts the descriptions together. Imports the dialects' schemas, never their consumers.
"""

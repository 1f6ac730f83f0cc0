"""What is below `/api/v1/` beside accounts: views here, the shapes of bodies in `bodies`.

One file for each kind of thing; `devices/urls.py` says which path is whose.
"""

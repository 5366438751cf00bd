"""Tests of the page that people talk to: its modules by Node.js, the page itself in a browser."""

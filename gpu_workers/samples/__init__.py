"""Recordings of which voices are cloned: decoded, judged, cleaned. Knows no encoder."""

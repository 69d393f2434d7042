"""Real servers on loopback: alone, watched by sentinels, or as a cluster."""

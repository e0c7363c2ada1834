"""The daemon: ingest, action log, pipeline, response policy, feed, dashboard, engines, command line.

Imports nothing by itself, so that `monitor.sensor`, which lives inside agents, stays light.
"""

"""Train a network, cut a plane through its weights, measure a surface, and print its rows as they are measured.

    python follow_surface.py WORKSPACE

Uses pyzmq and msgpack and nothing else; all it knows of the daemon is in protocol.md.
"""

import json
import random
import struct
import sys

import msgpack
import zmq

with open(f"{sys.argv[1]}/daemon.json") as file:
    where = json.load(file)
context = zmq.Context()
commands, events = context.socket(zmq.DEALER), context.socket(zmq.SUB)
commands.connect(where["cmd"])
events.connect(where["evt"])


def ulid():
    return "01" + "".join(random.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=24))


def ask(t, **fields):
    commands.send_multipart([msgpack.packb({"t": t, "id": ulid(), "proto": 1, **fields})])
    reply = msgpack.unpackb(commands.recv_multipart()[0])
    if reply["t"] == "err":
        sys.exit(f"{reply['code']}: {reply['msg']}")
    return reply["result"]


train, plane, surface = ulid(), ulid(), ulid()
for topic in ("run/", "surface/", f"job/{train}/", f"job/{plane}/", f"job/{surface}/", "hb/"):
    events.subscribe(topic)
events.recv_multipart()  # the first heartbeat: every subscription is in effect
ask("hello", client={"name": "follow_surface"})
axis = {"count": 7, "lo": -1.0, "hi": 1.0}
specs = {
    train: {"kind": "train", "recipe": {"model": "resnet20", "dataset": "digits", "epochs": 1}},
    plane: {"kind": "plane", "direction": "random", "origin": f"job:{train}"},
    surface: {"kind": "surface", "plane": f"job:{plane}", "grid": {"alpha": axis, "beta": axis}, "limit": 256},
}
# "new": work even where the same was asked before; otherwise its result would come at once.
ask("job.submit", jobs=[{"job": job, "spec": spec, "on_conflict": "new"} for job, spec in specs.items()])
mine = None
while True:
    topic, header, *buffers = events.recv_multipart()
    event = msgpack.unpackb(header)
    if event["t"] == "run.epoch":
        print(f"epoch {event['epoch']}: {event['metrics']}")
    elif event["t"] == "surface.row" and event["surface"] == mine:
        row = {b["name"]: struct.unpack(f"<{b['shape'][0]}f", raw) for b, raw in zip(event["bufs"], buffers)}
        print(f"row {event['i']}:", *(f"{loss:.3f}" for loss in row["loss"]), flush=True)
    elif event["t"] == "job.state" and event["state"] in ("failed", "cancelled"):
        sys.exit(f"{event['kind']} {event['state']}: {event['error']}")
    elif event["t"] == "job.state" and event["job"] == surface:
        mine = event["surface"]  # known from the job's start
        if event["state"] == "done":
            print("surface", mine)
            break

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from torture.run import Torture
from torture.schedule import Hostility

how = Hostility(
    kills=20,
    messages=120,
    calm_every=7,
    lock_every=9,
    account_every=1000,
    clock_every=5,
    clock_s=1.0,
    life_s=1.5,
    down_s=0.2,
)
d = tempfile.mkdtemp(prefix="torture")
print(d)
t = time.monotonic()
e = asyncio.run(
    Torture(how, seed=int(sys.argv[1]), folder=Path(d), is_warm=True).run(
        lambda: print(".", end="", flush=True)
    )
)
print(
    time.monotonic() - t,
    e.drained_s,
    e.exit_code,
    e.worked_off_s,
    len(e.sends),
    e.deliveries.acknowledged,
)
for l in e.lives:
    print(
        l.ended_by or ("self" if l.process.returncode else "end"),
        l.process.returncode,
        l.cue.place,
        l.cue.moment,
        l.cue.nth,
        l.opened_at and round(l.opened_at - l.began_at, 2),
    )
from torture.judge import judged

v = judged(e)
print(v)

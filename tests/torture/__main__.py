import asyncio, sys, tempfile, time
from pathlib import Path
from torture.run import Torture
from torture.schedule import Hostility
from torture.judge import judged
how = Hostility(kills=int(sys.argv[2]), messages=int(sys.argv[3]), calm_every=7, lock_every=9, account_every=1000, clock_every=5, clock_s=float(sys.argv[4]), life_s=1.5, down_s=0.2)
d=tempfile.mkdtemp(prefix="torture")
print(d)
t=time.monotonic()
e=asyncio.run(Torture(how, seed=int(sys.argv[1]), folder=Path(d), is_warm=True).run(lambda: print(".",end="",flush=True)))
print(time.monotonic()-t, e.drained_s, e.worked_off_s, len(e.sends), e.deliveries.acknowledged)
for l in e.lives: print(l.ended_by or "self", l.exit_code, l.cue.place, l.cue.moment, l.cue.nth, l.opened_at and round(l.opened_at-l.began_at,2))
v=judged(e)
print(v)

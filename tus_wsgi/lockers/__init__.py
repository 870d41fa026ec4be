"""Who may change an upload: each locker implements `tus_wsgi.domain.interfaces.Locker`.

| module            | covers                      | a dead holder is noticed             |
|-------------------|-----------------------------|--------------------------------------|
| `memory`          | one process                 | (it takes its locks with it)         |
| `file`            | all processes of one host   | at once: the kernel drops its lock   |
| `lease`+`dynamodb`| all hosts that have a table | after one lease, 6 s                 |
| `lease`+`s3`      | all hosts that have a bucket| the same                             |

What they share: `turns` settles in the process what can be settled there, so that at most one
request of a process waits for the same lock outside of it. `kernel` and `flock` are the two kinds
of kernel locks that `file` stands on. `records` is what `lease` needs of a service, and `heart`
keeps leases alive. `telling` tells observers of the locks of any of them.

Every locker promises: whoever holds a lock that somebody waits for is told; waiters of one process
are served in order; nobody is told anything about a lock that was given back; an exception of any
kind, while waiting or holding, leaves nothing behind.
"""

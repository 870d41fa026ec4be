"""Lockers: exclusive access to an upload, per process, per host or across hosts.

Each locker implements `tus_wsgi.domain.interfaces.Locker`.

| module               | scope                           | a dead holder is detected            |
|----------------------|---------------------------------|--------------------------------------|
| `memory`             | one process                     | (its locks end with the process)     |
| `file`               | all processes of one host       | at once: the kernel releases its lock|
| `lease` + `dynamodb` | all hosts that share the table  | after one lease, 6 s                 |
| `lease` + `s3`       | all hosts that share the bucket | after one lease, 6 s                 |

Shared modules: `queue` orders the requests of one process, so that at most one of them competes for
the shared lock. `file.ofd` and `file.flock` are the two kinds of kernel locks that `file` can use.
`lease.records` is the interface of the service that stores leases, and `lease.scheduler` sends the
heartbeats. `observed` reports the events of any locker.

Every locker guarantees:

- The holder of a lock is notified when another request waits for it.
- Waiters of one process get the lock in the order of their arrival.
- A request is never notified about a lock that it has released.
- An exception of any kind, while waiting or holding, leaves no lock and no waiter behind.
"""

"""The north wing: header text into commands, outcomes and errors into header text. No I/O.

| module        | answers                                                          |
|---------------|------------------------------------------------------------------|
| `http`        | what is a request, a reply, a dialect?                           |
| `fields`      | what does this header value mean, and how is it written?         |
| `tus1`        | how does tus 1.0.0 say it?                                       |
| `tus1_errors` | and how does it say what went wrong?                             |
| `tus1_replies`| and what came of a request?                                      |
| `concat`      | which uploads does an `Upload-Concat` field name?                |
| `download`    | which bytes does a GET get, and what may a browser do with them? |
| `cors`        | which pages of other origins may read the replies?               |
"""

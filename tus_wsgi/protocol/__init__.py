"""Parse header text into commands, and render outcomes and errors as header text. No I/O.

| module       | content                                                                 |
|--------------|-------------------------------------------------------------------------|
| `http`       | `RequestHead`, `Reply`, and the `Dialect` interface                     |
| `tus1`       | the dialect of tus 1.0.0                                                |
| `rufh`       | the dialects of the IETF draft, one for each interop version            |
| `fields`     | values of header fields, in pairs `parse_x` / `build_x`                 |
| `structured` | structured fields (RFC 9651)                                            |
| `errors`     | statuses and fields of errors, as far as the dialects agree             |
| `download`   | the reply to a GET: conditions, ranges, types that browsers may display |
| `cors`       | Cross-Origin Resource Sharing                                           |

`tus1` and `rufh` have the same modules: `dialect` parses requests, `render` renders outcomes, and
`errors` renders errors.
"""

// SPDX-License-Identifier: Apache-2.0
//! Bodies of all kinds, most of which look like heads.

use super::{ANOTHER, another, case, exchange, talk};
use crate::http::cases::Case;
use crate::http::message::{
    LOOKALIKE, chunked, lookalike, request, request_sized, request_with, response, response_chunked,
    response_with,
};
use crate::http::script::Side::{Client as FromClient, Server as FromServer};
use crate::http::script::Step;

/// Bodies with a length, in chunks, until the connection closes, and where there are none.
pub fn bodies() -> Vec<Case> {
    let get = || request("GET");
    let lookalikes = chunked(&[LOOKALIKE, LOOKALIKE]);
    let sized_twice = |value: &str| response_with(200, &["Content-Length: 9", value], "123456789");
    vec![
        case("a response with a length", exchange(get(), response(200, "body")), &[("GET", 200, 1)]),
        case("no body", exchange(get(), response(200, "")), &[("GET", 200, 1)]),
        case("a lookalike body", exchange(get(), response(200, LOOKALIKE)), &[("GET", 200, 1)]),
        case(
            "a lookalike body of a request",
            exchange(request_sized("POST", LOOKALIKE), response(201, LOOKALIKE)),
            &[("POST", 201, 1)],
        ),
        case(
            "lookalike bodies that begin segments",
            talk()
                .pieces(FromClient, [request_with("PUT", &["Content-Length: 300"], ""), lookalike(150)])
                .pieces(FromClient, [lookalike(150)])
                .pieces(FromServer, [response_with(200, &["Content-Length: 200"], ""), lookalike(100)])
                .pieces(FromServer, [lookalike(100)]),
            &[("PUT", 200, 1)],
        ),
        case(
            "chunked lookalikes",
            exchange(
                request_with("POST", &["Transfer-Encoding: chunked"], &lookalikes),
                response_chunked(200, &lookalikes),
            ),
            &[("POST", 200, 1)],
        ),
        case(
            "each chunk begins a segment",
            talk()
                .client(request_with("POST", &["Transfer-Encoding: chunked"], ""))
                .client(chunked(&[LOOKALIKE]))
                .pieces(
                    FromServer,
                    [response_chunked(200, "a5\r\n"), lookalike(0xa5), "\r\n0\r\n\r\n".into()],
                ),
            &[("POST", 200, 1)],
        ),
        case(
            "extensions, zeroes before sizes, capitals, trailers",
            exchange(
                get(),
                response_chunked(
                    200,
                    "000005;name=\"v\\\"alue\";x\r\nGET /\r\nA ; ext\r\nHTTP/1.1 5\r\n0;last\r\nX-T: GET / HTTP/1.1\r\nY: z\r\n\r\n",
                ),
            ),
            &[("GET", 200, 1)],
        ),
        case(
            "an empty chunked body",
            exchange(get(), response_chunked(200, "0\r\n\r\n")),
            &[("GET", 200, 1)],
        ),
        case(
            "names in any case, white space around values",
            exchange(
                request_with("POST", &["content-LENGTH:\t 5 "], "GET /"),
                response_with(200, &["TRANSFER-encoding:  Chunked  "], &chunked(&["HTTP/1.1 404 X\r\n\r\n"])),
            ),
            &[("POST", 200, 1)],
        ),
        case(
            "no space after the colon",
            exchange(get(), response_with(200, &["Content-Length:7"], "GET / H")),
            &[("GET", 200, 1)],
        ),
        case(
            "names that begin or end alike",
            exchange(
                request_with(
                    "POST",
                    &["X-Content-Length: 500", "Content-Length-X: 400", "Content-Length: 3"],
                    "abc",
                ),
                response_with(
                    200,
                    &["X-Transfer-Encoding: chunked", "Transfer-Encoding-X: chunked", "Content-Length: 4"],
                    "abcd",
                ),
            ),
            &[("POST", 200, 1)],
        ),
        case(
            "values that contain names",
            exchange(
                request_with(
                    "POST",
                    &["X-A: Content-Length: 55", "Content-Length: 3", "X-B: Transfer-Encoding: chunked"],
                    "abc",
                ),
                response_with(200, &["X-A: transfer-encoding: chunked", "Content-Length: 4"], "abcd"),
            ),
            &[("POST", 200, 1)],
        ),
        case(
            "gzip, then chunked",
            exchange(
                get(),
                response_with(200, &["Transfer-Encoding: gzip, chunked"], &chunked(&[LOOKALIKE])),
            ),
            &[("GET", 200, 1)],
        ),
        case(
            "gzip and chunked in two lines",
            exchange(
                get(),
                response_with(
                    200,
                    &["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
                    &chunked(&[LOOKALIKE]),
                ),
            ),
            &[("GET", 200, 1)],
        ),
        case(
            "chunked beats a length",
            exchange(
                get(),
                response_with(
                    200,
                    &["Content-Length: 3", "Transfer-Encoding: chunked"],
                    &chunked(&[LOOKALIKE]),
                ),
            ),
            &[("GET", 200, 1)],
        ),
        case(
            "chunked beats a length that follows",
            exchange(
                request_with(
                    "POST",
                    &["Transfer-Encoding: chunked", "Content-Length: 3"],
                    &chunked(&[LOOKALIKE]),
                ),
                response(200, ""),
            ),
            &[("POST", 200, 1)],
        ),
        case("the same length twice", exchange(get(), sized_twice("Content-Length: 9")), &[("GET", 200, 1)]),
        case(
            "zeroes before a length",
            exchange(get(), response_with(200, &["Content-Length: 0009"], "GET / HTT")),
            &[("GET", 200, 1)],
        ),
        case(
            "HEAD with a length",
            exchange(request("HEAD"), response_with(200, &["Content-Length: 5000"], "")),
            &[("HEAD", 200, 1)],
        ),
        case(
            "HEAD of something chunked",
            exchange(request("HEAD"), response_with(404, &["Transfer-Encoding: chunked"], "")),
            &[("HEAD", 404, 1)],
        ),
        case(
            "204 with a length",
            exchange(request("DELETE"), response_with(204, &["Content-Length: 50"], "")),
            &[("DELETE", 204, 1)],
        ),
        case(
            "304 with a length",
            exchange(get(), response_with(304, &["Content-Length: 5000", "ETag: \"x\""], "")),
            &[("GET", 304, 1)],
        ),
        case(
            "304 chunked",
            exchange(get(), response_with(304, &["Transfer-Encoding: chunked"], "")),
            &[("GET", 304, 1)],
        ),
        case(
            "HEAD, GET and HEAD again",
            exchange(request("HEAD"), response_with(200, &["Content-Length: 9"], ""))
                .then(exchange(get(), response(200, "GET / HTT")))
                .then(exchange(request("HEAD"), response_with(200, &["Content-Length: 9"], ""))),
            &[("HEAD", 200, 2), ("GET", 200, 1)],
        ),
        Case::new(
            "until the connection closes",
            exchange(get(), response_with(200, &[], LOOKALIKE))
                .server(LOOKALIKE)
                .step(Step::Close(FromServer)),
            &[("GET", 200, 1)],
        ),
        Case::new(
            "until the connection closes, with keep-alive before",
            another()
                .client(get())
                .server("HTTP/1.0 502 Bad\r\nConnection: close\r\n\r\n")
                .pieces(FromServer, ["HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", LOOKALIKE])
                .step(Step::Close(FromServer)),
            &[("GET", 502, 1), ANOTHER],
        ),
        case(
            "an answer before the whole request has come",
            talk()
                .client(request_with("POST", &["Content-Length: 300"], &lookalike(100)))
                .server(response(413, "too large"))
                .client(lookalike(200)),
            &[("POST", 413, 1)],
        ),
    ]
}

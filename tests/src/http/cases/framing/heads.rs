// SPDX-License-Identifier: Apache-2.0
//! Heads of all kinds.

use super::{ANOTHER, another, case, exchange, talk};
use crate::http::cases::Case;
use crate::http::message::{LOOKALIKE, chunked, request, request_with, response, response_with};
use crate::http::script::Side::{Client as FromClient, Server as FromServer};
use crate::http::script::Step;

/// Long heads, odd ones, interim responses, tunnels, all methods.
pub fn heads() -> Vec<Case> {
    let get = || request("GET");
    let cookie = |bytes: usize| format!("Cookie: {}", "name=value; ".repeat(bytes / 12));
    let many: Vec<_> = (0..100).map(|number| format!("X-Header-{number}: {}", "v".repeat(60))).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let raw = |text: &str| exchange(text, response(200, "body"));
    let mut cases = vec![
        case(
            "8 KB of cookies",
            exchange(
                request_with("GET", &[&cookie(8000)], ""),
                response_with(200, &[&format!("Set-{}", cookie(8000)), "Content-Length: 5"], "GET /"),
            ),
            &[("GET", 200, 1)],
        ),
        case(
            "8 KB of cookies before the length",
            exchange(
                request_with("POST", &[&cookie(8000), "Content-Length: 5"], "GET /"),
                response_with(200, &[&cookie(8000), "Transfer-Encoding: chunked"], &chunked(&[LOOKALIKE])),
            ),
            &[("POST", 200, 1)],
        ),
        case(
            "a hundred header lines",
            exchange(
                request_with("GET", &many, ""),
                response_with(200, &[&many[..], &["Content-Length: 5"]].concat(), "GET /"),
            ),
            &[("GET", 200, 1)],
        ),
        case(
            "a path of 1 KB",
            raw(&format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "p".repeat(1000))),
            &[("GET", 200, 1)],
        ),
        case(
            "a path like a request line",
            raw("GET /a%20HTTP/1.1?GET=/&HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n"),
            &[("GET", 200, 1)],
        ),
        case(
            "an absolute path",
            raw("GET http://other.example/ HTTP/1.1\r\nHost: x\r\n\r\n"),
            &[("GET", 200, 1)],
        ),
        case("an asterisk", raw("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), &[("OPTIONS", 200, 1)]),
        case(
            "a lower-case method is none that is registered",
            another().then(raw("get / HTTP/1.1\r\nHost: x\r\n\r\n")),
            &[ANOTHER, ("other", 200, 1)],
        ),
        case(
            "other methods",
            raw("PROPFIND / HTTP/1.1\r\nHost: x\r\n\r\n").then(raw("M-SEARCH * HTTP/1.1\r\n\r\n")),
            &[("other", 200, 2)],
        ),
        case(
            "methods that begin like others",
            raw("GETS / HTTP/1.1\r\n\r\n").then(raw("PUTX / HTTP/1.1\r\n\r\n")),
            &[("other", 200, 2)],
        ),
        case(
            "HTTP/1.0 kept alive",
            raw("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
            &[("GET", 200, 1)],
        ),
        case("no reason", exchange(get(), "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"), &[("GET", 404, 1)]),
        case(
            "an empty reason",
            exchange(get(), "HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n"),
            &[("GET", 500, 1)],
        ),
        case(
            "a reason like a status line",
            exchange(get(), "HTTP/1.1 500 HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            &[("GET", 500, 1)],
        ),
        case(
            "an empty line before a request",
            exchange(get(), response(200, "x")).then(raw("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")),
            &[("GET", 200, 2)],
        ),
        case(
            "lines that end in LF alone",
            exchange(
                "GET / HTTP/1.1\nHost: x\nContent-Length: 3\n\nGET",
                "HTTP/1.1 200 OK\nContent-Length: 4\n\nHTTP",
            ),
            &[("GET", 200, 1)],
        ),
        case(
            "a folded line is no header",
            exchange(
                request_with("POST", &["X-Long: a", "\tContent-Length: 999", "Content-Length: 3"], "abc"),
                response_with(
                    200,
                    &["X-Long: a", " Transfer-Encoding: chunked", "Content-Length: 4"],
                    "abcd",
                ),
            ),
            &[("POST", 200, 1)],
        ),
        case("the edge of what is a code", exchange(get(), response(599, "x")), &[("GET", 599, 1)]),
        case(
            "100 Continue",
            talk()
                .client(request_with("PUT", &["Expect: 100-continue", "Content-Length: 5"], ""))
                .server("HTTP/1.1 100 Continue\r\n\r\n")
                .client("GET /")
                .server(response(201, "made")),
            &[("PUT", 201, 1)],
        ),
        case(
            "100 Continue refused",
            talk().client(request_with("GET", &["Expect: 100-continue"], "")).server(response(417, "no")),
            &[("GET", 417, 1)],
        ),
        case(
            "102, 103, 103 and 200 in one segment",
            exchange(
                get(),
                format!(
                    "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 Early\r\nLink: <a>\r\n\r\nHTTP/1.1 103 Early\r\n\r\n{}",
                    response(200, "x")
                ),
            ),
            &[("GET", 200, 1)],
        ),
        case(
            "103 and then 404 later",
            exchange(get(), "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
                .server(response(404, "x")),
            &[("GET", 404, 1)],
        ),
        Case::new(
            "a WebSocket, then what looks like HTTP",
            another()
                .client(request_with("GET", &["Connection: Upgrade", "Upgrade: websocket"], ""))
                .server(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                )
                .client(get())
                .server(response(404, "frame"))
                .client(LOOKALIKE)
                .server(LOOKALIKE),
            &[ANOTHER, ("GET", 101, 1)],
        ),
        case(
            "an upgrade that is not taken",
            exchange(
                request_with("GET", &["Connection: Upgrade", "Upgrade: h2c"], ""),
                response(200, "plain"),
            ),
            &[("GET", 200, 1)],
        ),
        Case::new(
            "a CONNECT tunnel with HTTP inside",
            exchange(
                "CONNECT inside.example:80 HTTP/1.1\r\nHost: inside\r\n\r\n",
                "HTTP/1.1 200 Established\r\n\r\n",
            )
            .then(another())
            .client(LOOKALIKE)
            .server(LOOKALIKE),
            &[("CONNECT", 200, 1)],
        ),
        case(
            "CONNECT refused",
            exchange("CONNECT inside.example:80 HTTP/1.1\r\nHost: inside\r\n\r\n", response(407, "GET /")),
            &[("CONNECT", 407, 1)],
        ),
        Case::new(
            "408 that nobody asked for",
            another().server(response(408, "")).step(Step::Close(FromServer)),
            &[ANOTHER],
        )
        .unasked(408, 1),
        Case::new(
            "a client that is done writing",
            talk()
                .client(get())
                .step(Step::Finish(FromClient))
                .server(response(200, "x"))
                .step(Step::Close(FromServer)),
            &[("GET", 200, 1)],
        ),
    ];
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
        cases.push(case(method, exchange(request(method), response(202, "x")), &[(method, 202, 1)]));
    }
    cases
}

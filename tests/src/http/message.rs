// SPDX-License-Identifier: Apache-2.0
//! Texts of requests and responses.

/// A body that is full of what looks like heads.
pub const LOOKALIKE: &str = "GET /in-a-body HTTP/1.1\r\nHost: body\r\n\r\nHTTP/1.1 500 In A Body\r\nContent-Length: 0\r\n\r\n\
    POST /in-a-body HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404 In A Body\r\n\r\n";

/// `size` bytes of that.
pub fn lookalike(size: usize) -> String {
    LOOKALIKE.chars().cycle().take(size).collect()
}

/// A request without body.
pub fn request(method: &str) -> String {
    format!("{method} /a/path?and=query HTTP/1.1\r\nHost: server.example\r\nUser-Agent: fg-http/1.0\r\n\r\n")
}

/// A request with these lines in its head besides, each without line end, and this body.
pub fn request_with(method: &str, lines: &[&str], body: &str) -> String {
    format!("{method} /a/path HTTP/1.1\r\nHost: server.example\r\n{}\r\n{body}", joined(lines))
}

/// A request with a Content-Length.
pub fn request_sized(method: &str, body: &str) -> String {
    request_with(method, &[&format!("Content-Length: {}", body.len())], body)
}

/// A response with these lines in its head, each without line end, and this body.
pub fn response_with(code: u16, lines: &[&str], body: &str) -> String {
    format!("HTTP/1.1 {code} Some Reason\r\nServer: fg-http/1.0\r\n{}\r\n{body}", joined(lines))
}

/// A response with a Content-Length.
pub fn response(code: u16, body: &str) -> String {
    response_with(code, &[&format!("Content-Length: {}", body.len())], body)
}

/// A response head with a chunked body; chunks are made by [`chunked`].
pub fn response_chunked(code: u16, body: &str) -> String {
    response_with(code, &["Transfer-Encoding: chunked"], body)
}

/// A body in chunks.
pub fn chunked(chunks: &[&str]) -> String {
    let chunks = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    chunks.chain(["0\r\n\r\n".to_owned()]).collect()
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

/// A repeatable source of random numbers (xorshift64*).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    /// Bytes of any value.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

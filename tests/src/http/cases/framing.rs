// SPDX-License-Identifier: Apache-2.0
//! Where messages begin and end (RFC 9112): cases of heads and bodies of all kinds.

mod any;
mod bodies;
mod heads;

pub use any::any_conversation;
pub use bodies::bodies;
pub use heads::heads;

use super::Case;
use crate::http::message::{request, response};
use crate::http::script::Conversation;

/// A request and its response, to show that what went before has left both directions in step.
pub fn another() -> Conversation {
    Conversation::new().client(request("PATCH")).server(response(299, "another"))
}

/// What must be counted of that.
pub const ANOTHER: (&str, u16, u64) = ("PATCH", 299, 1);

/// What was said must leave the connection in step: another request follows.
pub fn case(name: &str, conversation: Conversation, responses: &[(&str, u16, u64)]) -> Case {
    Case::new(name, conversation.then(another()), &[responses, &[ANOTHER]].concat())
}

/// An empty conversation.
pub fn talk() -> Conversation {
    Conversation::new()
}

/// A request and its response, each in one piece.
pub fn exchange(request: impl AsRef<[u8]>, response: impl AsRef<[u8]>) -> Conversation {
    talk().client(request).server(response)
}

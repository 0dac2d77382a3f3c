// SPDX-License-Identifier: Apache-2.0
//! What kind of API server the stub is, and what is wrong with it at the moment.

use std::time::Duration;

use super::resource::{Resource, Verb};

/// What a server makes of `sendInitialEvents=true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamingLists {
    /// Serves them: Kubernetes 1.32 and newer.
    Served,
    /// Refuses them with 422: 1.27 and newer with the feature gate WatchList off.
    Refused,
    /// Refuses `resourceVersionMatch` in watches with 422: 1.19 to 1.26.
    RefusedByMatch,
    /// Takes no notice of either parameter: older still. The initial events come, the bookmark behind them does not.
    Ignored,
}

/// How a watch from a forgotten version is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// An ERROR event in a stream that began with 200, as kube-apiserver's watch cache does.
    Event,
    /// HTTP status 410.
    Status,
}

/// What kind of server it is. The default is a current kube-apiserver.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// What it makes of streaming lists.
    pub streaming_lists: StreamingLists,
    /// How it says that a version is too old for a watch.
    pub gone: Gone,
    /// How often watches that allow it get a bookmark; none if absent. kube-apiserver's is a minute.
    pub bookmarks_every: Option<Duration>,
    /// How many changes of each resource it remembers.
    pub history: usize,
    /// How long a continue token holds. kube-apiserver's is 5 minutes.
    pub continue_lifetime: Duration,
    /// When it ends watches that did not say `timeoutSeconds`. kube-apiserver's is 30 to 60 minutes.
    pub watch_lifetime: Duration,
    /// How long a list at a version not reached yet waits for it. kube-apiserver's is 3 s.
    pub future_patience: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            streaming_lists: StreamingLists::Served,
            gone: Gone::Event,
            bookmarks_every: Some(Duration::from_secs(60)),
            history: 10_000,
            continue_lifetime: Duration::from_secs(300),
            watch_lifetime: Duration::from_secs(1800),
            future_patience: Duration::from_secs(3),
        }
    }
}

/// Which requests a fault befalls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope {
    /// Those for this resource; all if absent.
    pub resource: Option<Resource>,
    /// Those with this verb; all if absent.
    pub verb: Option<Verb>,
}

impl Scope {
    /// Every request for an object.
    pub const ALL: Scope = Scope { resource: None, verb: None };

    /// Requests for one resource.
    pub fn of(resource: Resource) -> Self {
        Scope { resource: Some(resource), verb: None }
    }

    /// Requests with one verb.
    pub fn with(verb: Verb) -> Self {
        Scope { resource: None, verb: Some(verb) }
    }

    pub(super) fn covers(self, resource: Resource, verb: Verb) -> bool {
        self.resource.is_none_or(|only| only == resource) && self.verb.is_none_or(|only| only == verb)
    }
}

/// How a cut body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As HTTP wants it: the client sees a body that is complete and does not parse.
    Clean,
    /// The connection breaks in the middle of a chunk's announcement.
    Abrupt,
}

/// Something wrong with the answers to requests that begin from now on.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Takes the request and never answers.
    Silence,
    /// Answers late, and then dribbles.
    Slow {
        /// Time until the head of the answer.
        before: Duration,
        /// Bytes sent at a time.
        piece: usize,
        /// Time before each piece.
        pause: Duration,
    },
    /// Answers this and nothing else, as a load balancer without backends does, or a server that has too much to do.
    Answer {
        /// HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: &'static str,
        /// Body.
        body: String,
        /// `Retry-After` in seconds.
        retry_after: Option<u32>,
    },
    /// Ends the body after so many bytes.
    Cut {
        /// Bytes sent before.
        after: usize,
        /// How it ends.
        ending: Ending,
    },
    /// Puts this line in front of the body.
    Garbage(String),
}

impl Fault {
    /// What a proxy in front of a dead server answers.
    pub fn bad_gateway() -> Self {
        let body = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>\
            </center>\r\n</body>\r\n</html>\r\n";
        Fault::Answer { status: 502, content_type: "text/html", body: body.to_owned(), retry_after: None }
    }

    /// What priority and fairness answers to whom it cannot serve now.
    pub fn too_many_requests() -> Self {
        let body = "Too many requests, please try again later.\n".to_owned();
        Fault::Answer { status: 429, content_type: "text/plain; charset=utf-8", body, retry_after: Some(1) }
    }
}

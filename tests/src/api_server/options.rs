// SPDX-License-Identifier: Apache-2.0
//! The query parameters of list and watch requests (`ListOptions` of the API), checked as kube-apiserver checks them.

use std::time::Duration;

use super::behaviour::StreamingLists;
use super::selector::Selector;
use super::status::Status;
use crate::api_server::resource::Resource;

/// What a list or watch asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub selector: Selector,
    pub watch: bool,
    pub limit: usize,
    pub continue_token: Option<String>,
    /// `None` is the parameter absent or empty, which means something else than 0.
    pub version: Option<u64>,
    pub exact: bool,
    pub not_older: bool,
    pub bookmarks: bool,
    pub initial_events: Option<bool>,
    pub timeout: Option<Duration>,
}

impl Options {
    pub fn parse(query: &str, resource: Resource, streaming: StreamingLists) -> Result<Self, Status> {
        let mut options = Options::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            match &*key {
                "fieldSelector" => options.selector.fields(resource, &value)?,
                "labelSelector" => options.selector.labels(&value)?,
                "watch" => options.watch = boolean(&key, &value)?,
                "limit" => options.limit = number(&key, &value)?,
                "continue" => options.continue_token = Some(value.into_owned()),
                "resourceVersion" => options.version = Some(number(&key, &value)?),
                "resourceVersionMatch" => match &*value {
                    "Exact" => options.exact = true,
                    "NotOlderThan" => options.not_older = true,
                    other => {
                        return Err(Status::bad_request(format!(
                            "resourceVersionMatch: Unsupported value: {other:?}"
                        )));
                    }
                },
                "allowWatchBookmarks" => options.bookmarks = boolean(&key, &value)?,
                "sendInitialEvents" => options.initial_events = Some(boolean(&key, &value)?),
                "timeoutSeconds" => options.timeout = Some(Duration::from_secs(number(&key, &value)?)),
                _ => {}
            }
        }
        if options.watch {
            options.check_watch(streaming)?
        } else {
            options.check_list()?
        }
        Ok(options)
    }

    fn check_watch(&mut self, streaming: StreamingLists) -> Result<(), Status> {
        let matching = self.exact || self.not_older;
        match streaming {
            // Nothing is known of either parameter.
            StreamingLists::Ignored => self.initial_events = None,
            StreamingLists::RefusedByMatch if matching => {
                let message = "resourceVersionMatch is forbidden for watch";
                return Err(Status::forbidden_option("resourceVersionMatch", message));
            }
            StreamingLists::RefusedByMatch => self.initial_events = None,
            StreamingLists::Refused if self.initial_events.is_some() => {
                let message =
                    "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
                return Err(Status::forbidden_option("sendInitialEvents", message));
            }
            StreamingLists::Refused | StreamingLists::Served => {
                if self.initial_events.is_some() && !self.not_older {
                    let message = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                    return Err(Status::forbidden_option("resourceVersionMatch", message));
                }
                if self.initial_events.is_none() && matching {
                    let message =
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                    return Err(Status::forbidden_option("resourceVersionMatch", message));
                }
            }
        }
        Ok(())
    }

    fn check_list(&self) -> Result<(), Status> {
        let matching = self.exact || self.not_older;
        if self.initial_events.is_some() {
            let message = "sendInitialEvents is forbidden for list";
            return Err(Status::forbidden_option("sendInitialEvents", message));
        }
        if matching && self.continue_token.is_some() {
            let message = "resourceVersionMatch is forbidden when continue is provided";
            return Err(Status::forbidden_option("resourceVersionMatch", message));
        }
        if matching && self.version.is_none() {
            let message = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(Status::forbidden_option("resourceVersionMatch", message));
        }
        if self.exact && self.version == Some(0) {
            let message = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            return Err(Status::forbidden_option("resourceVersionMatch", message));
        }
        if self.continue_token.is_some() && self.version.is_some_and(|version| version != 0) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(())
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, Status> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Status::bad_request(format!("{key}: {value:?} is not a boolean"))),
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Status> {
    value.parse().map_err(|_| Status::bad_request(format!("{key}: Invalid value: {value:?}")))
}

// SPDX-License-Identifier: Apache-2.0
//! Who is notified: a webhook that keeps what it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Labels;
use crate::metadata_server::read_head;

/// A receiver on a loopback port, until the process ends.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Notification>>>,
}

/// What somebody was told of one alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The receiver's name in Alertmanager's configuration.
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// The alert's labels.
    pub labels: Labels,
    /// What the alert says.
    pub annotations: Labels,
}

/// Alertmanager's message, version 4.
#[derive(Deserialize)]
struct Message {
    receiver: String,
    alerts: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    status: String,
    labels: Labels,
    annotations: Labels,
}

impl Webhook {
    /// Starts to listen.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening for notifications")?;
        let webhook = Webhook { address: listener.local_addr()?, told: Arc::default() };
        let told = Arc::clone(&webhook.told);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = Arc::clone(&told);
                thread::spawn(move || take_messages(stream, &told));
            }
        });
        Ok(webhook)
    }

    /// The URL to give to Alertmanager.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All notifications but the first `known`.
    pub fn since(&self, known: usize) -> Vec<Notification> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(known..).unwrap_or_default().to_vec()
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn take_messages(mut stream: TcpStream, told: &Mutex<Vec<Notification>>) {
    while let Some(head) = read_head(&mut stream) {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let answer = match serde_json::from_slice::<Message>(&body) {
            Ok(Message { receiver, alerts }) => {
                let news = alerts.into_iter().map(|Told { status, labels, annotations }| Notification {
                    receiver: receiver.clone(),
                    status,
                    labels,
                    annotations,
                });
                told.lock().unwrap_or_else(PoisonError::into_inner).extend(news);
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            }
            Err(_) => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Keys as they are pressed: no line, no echo, if standard input is a terminal.

use std::io::{self, IsTerminal, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use anyhow::{Context, Result, ensure};

/// What came from standard input.
pub enum Key {
    Pressed(u8),
    Closed,
}

/// The keys; the terminal is as it was before when this is dropped.
pub struct Keys {
    keys: Receiver<u8>,
    before: Option<String>,
}

impl Keys {
    pub fn listen() -> Result<Self> {
        let before = io::stdin().is_terminal().then(|| stty(&["-g"])).transpose()?;
        let (sender, keys) = channel();
        let keys = Keys { keys, before };
        if keys.before.is_some() {
            stty(&["-icanon", "-echo", "min", "1"])?;
        }
        thread::spawn(move || {
            for key in io::stdin().lock().bytes().map_while(Result::ok) {
                if sender.send(key).is_err() {
                    return;
                }
            }
        });
        Ok(keys)
    }

    /// The next one that is there.
    pub fn next(&self) -> Option<Key> {
        match self.keys.try_recv() {
            Ok(key) => Some(Key::Pressed(key)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Key::Closed),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && let Err(error) = stty(&[before])
        {
            eprintln!("the terminal stays as it is: {error:#}; `stty sane` mends it");
        }
    }
}

fn stty(arguments: &[&str]) -> Result<String> {
    let output =
        Command::new("stty").args(arguments).stdin(Stdio::inherit()).output().context("starting stty")?;
    ensure!(output.status.success(), "stty: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

// SPDX-License-Identifier: Apache-2.0
//! The live table: a terminal, keys, answers and signals.

use std::io;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::answer::Answer;
use super::fetch::Client;
use super::model::{Effect, Model};
use super::query::Query;
use super::view::draw;

/// How often the age of what is shown is drawn anew.
const CLOCK: Duration = Duration::from_secs(1);

/// A question with a number, so that asking the same again is another one.
type Question = (u64, Query);

/// Shows the table until somebody ends it. The terminal is as before afterwards, also when this panics.
///
/// # Errors
/// The terminal cannot be used.
pub async fn show(client: Client, model: Model) -> io::Result<()> {
    // Installs a panic hook that restores the terminal before the panic is told.
    let terminal = ratatui::try_init()?;
    let restore = Restore;
    let shown = run(terminal, client, model).await;
    drop(restore);
    shown
}

/// Restores the terminal however the table ends.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // When the terminal has gone there is nothing to restore.
        let _ = ratatui::try_restore();
    }
}

async fn run(mut terminal: DefaultTerminal, client: Client, mut model: Model) -> io::Result<()> {
    let mut signals = Signals::listen()?;
    let mut keys = keys();
    let mut asked: Question = (0, model.query.clone());
    let (ask, questions) = watch::channel(asked.clone());
    let (answer, mut answers) = mpsc::channel(1);
    tokio::spawn(fetch(client, questions, answer));
    // None while a question waits for its answer.
    let mut next: Option<Instant> = None;
    loop {
        terminal.draw(|frame| draw(frame, &mut model, Instant::now()))?;
        let due = next.filter(|_| !model.paused);
        let wake = Instant::now() + CLOCK;
        let again = tokio::select! {
            event = keys.recv() => match event {
                // Without a terminal there is nobody to show anything to.
                None => return Ok(()),
                Some(Event::Key(key)) => match model.press(key) {
                    Effect::Quit => return Ok(()),
                    Effect::Ask => true,
                    Effect::Draw => false,
                },
                Some(_) => false,
            },
            answer = answers.recv() => {
                let Some((number, query, answer)) = answer else {
                    return Err(io::Error::other("whoever asks the exporter has died"));
                };
                // An answer to an earlier question, overtaken by a key, says nothing of the one that is asked now.
                if number == asked.0 {
                    let now = Instant::now();
                    model.take(&query, answer, now);
                    next = Some(now + model.interval);
                }
                false
            },
            () = signals.recv() => return Ok(()),
            () = sleep_until(due.unwrap_or(wake).min(wake).into()) => due.is_some_and(|due| due <= Instant::now()),
        };
        if again {
            asked = (asked.0 + 1, model.query.clone());
            next = None;
            ask.send_replace(asked.clone());
        }
    }
}

/// What is typed, from a thread that waits for it; ends with the terminal.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, keys) = mpsc::channel(64);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

/// Asks each question, unless a newer one comes meanwhile.
async fn fetch(
    mut client: Client,
    mut questions: watch::Receiver<Question>,
    answers: mpsc::Sender<(u64, Query, Result<Answer, String>)>,
) {
    loop {
        let (number, query) = questions.borrow_and_update().clone();
        let encoded = query.encode();
        let answer = tokio::select! {
            body = client.get(&encoded) => body.and_then(|body| Answer::parse(&body)),
            changed = questions.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        if answers.send((number, query, answer)).await.is_err() || questions.changed().await.is_err() {
            return;
        }
    }
}

/// The signals that end a program.
struct Signals([Signal; 4]);

impl Signals {
    fn listen() -> io::Result<Self> {
        let [terminate, interrupt, hangup, quit] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()]
                .map(signal);
        Ok(Self([terminate?, interrupt?, hangup?, quit?]))
    }

    async fn recv(&mut self) {
        let [terminate, interrupt, hangup, quit] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

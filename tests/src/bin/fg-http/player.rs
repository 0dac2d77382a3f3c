// SPDX-License-Identifier: Apache-2.0
//! One end of conversations: see `flowgauge_tests::http::script`.

use std::io::{ErrorKind, Read, Write, stdin};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use flowgauge_tests::http::play::{Played, Scene};
use flowgauge_tests::http::script::{Conversation, Side, Step, bytes};
use flowgauge_tests::sys::data_segments_sent;
use socket2::SockRef;

/// How long one end waits for the other.
const PATIENCE: Duration = Duration::from_secs(20);

/// When TCP gives up what is lost on purpose.
const GIVE_UP: Duration = Duration::from_millis(500);

#[derive(Args)]
pub struct Play {
    /// Scenes, as JSON.
    #[arg(long)]
    script: PathBuf,
}

impl Play {
    fn scenes(&self) -> Result<Vec<Scene>> {
        let text = std::fs::read_to_string(&self.script).context("reading the script")?;
        serde_json::from_str(&text).context("the script")
    }
}

pub fn client(play: &Play) -> Result<()> {
    let mut player = Player::new(Side::Client);
    for scene in play.scenes()? {
        player.scene(&scene, || TcpStream::connect(scene.address))?;
    }
    player.report()
}

pub fn server(play: &Play) -> Result<()> {
    let mut player = Player::new(Side::Server);
    let scenes = play.scenes()?;
    let listen = |scene: &Scene| {
        TcpListener::bind(scene.address).with_context(|| format!("listening on {}", scene.address))
    };
    let listeners = scenes.iter().map(listen).collect::<Result<Vec<_>>>()?;
    println!("ready");
    for (scene, listener) in scenes.iter().zip(&listeners) {
        player.scene(scene, || Ok(listener.accept()?.0))?;
    }
    player.report()?;
    // Whoever looks for the server still finds it.
    stdin().read_line(&mut String::new())?;
    Ok(())
}

struct Player {
    side: Side,
    played: Played,
}

impl Player {
    fn new(side: Side) -> Self {
        Player { side, played: Played::default() }
    }

    fn report(&self) -> Result<()> {
        println!("{}", serde_json::to_string(&self.played)?);
        Ok(())
    }

    fn scene(&mut self, scene: &Scene, open: impl Fn() -> std::io::Result<TcpStream>) -> Result<()> {
        for (number, conversation) in scene.conversations.iter().enumerate() {
            let played = open().context("no connection").and_then(|stream| self.play(stream, conversation));
            played.with_context(|| format!("{}, conversation {number}", scene.address))?;
        }
        Ok(())
    }

    fn play(&mut self, mut stream: TcpStream, conversation: &Conversation) -> Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        self.played.connections += 1;
        for (number, step) in conversation.steps.iter().enumerate() {
            let went_on = self.step(&mut stream, step).with_context(|| format!("step {number}: {step:?}"))?;
            if !went_on {
                return Ok(());
            }
        }
        self.step(&mut stream, &Step::Close(Side::Client)).map(drop)
    }

    /// Whether the connection is still there afterwards.
    fn step(&mut self, stream: &mut TcpStream, step: &Step) -> Result<bool> {
        match step {
            Step::Send { from, wait, gap, pieces } if *from == self.side => {
                sleep(*wait);
                for (number, piece) in pieces.iter().enumerate() {
                    sleep(if number > 0 { *gap } else { Duration::ZERO });
                    self.write(stream, &bytes(piece))?;
                }
            }
            Step::Send { pieces, .. } => read(stream, &bytes(&pieces.concat()))?,
            Step::Finish(by) if *by == self.side => stream.shutdown(std::net::Shutdown::Write)?,
            Step::Finish(_) => ensure!(stream.read(&mut [0])? == 0, "more came than was written"),
            Step::Hold => hold()?,
            Step::Close(by) => {
                if *by != self.side {
                    ensure!(stream.read(&mut [0])? == 0, "more came than was written");
                }
                return Ok(false);
            }
            Step::Reset(by) if *by == self.side => {
                SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                return Ok(false);
            }
            Step::Reset(_) => {
                expect_error(stream, ErrorKind::ConnectionReset)?;
                return Ok(false);
            }
            Step::Lose { from, text } if *from == self.side => {
                SockRef::from(&*stream).set_tcp_user_timeout(Some(GIVE_UP))?;
                stream.write_all(&bytes(text))?;
                expect_error(stream, ErrorKind::TimedOut)?;
                println!("lost");
                return Ok(false);
            }
            Step::Lose { .. } => {
                hold()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a piece and sees that it went out before the next can be put to it.
    fn write(&mut self, stream: &mut TcpStream, piece: &[u8]) -> Result<()> {
        let before = data_segments_sent(stream)?;
        stream.write_all(piece).context("writing")?;
        let deadline = Instant::now() + PATIENCE;
        while data_segments_sent(stream)? == before {
            ensure!(Instant::now() < deadline, "{} bytes were written but not sent", piece.len());
            sleep(Duration::from_micros(50));
        }
        self.played.pieces += 1;
        self.played.bytes += piece.len() as u64;
        Ok(())
    }
}

fn read(stream: &mut TcpStream, expected: &[u8]) -> Result<()> {
    let mut buffer = vec![0; expected.len().clamp(1, 65_536)];
    let mut at = 0;
    while at < expected.len() {
        // Acknowledged at once, so that the other end's window of unacknowledged segments stays open.
        SockRef::from(&*stream).set_tcp_quickack(true)?;
        let room = buffer.len().min(expected.len() - at);
        let count = stream.read(&mut buffer[..room]).with_context(|| format!("reading, {at} bytes came"))?;
        ensure!(count > 0, "the other end closed after {at} bytes of {}", expected.len());
        ensure!(buffer[..count] == expected[at..at + count], "other bytes than were written");
        at += count;
    }
    Ok(())
}

fn hold() -> Result<()> {
    println!("held");
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    ensure!(line == "go\n", "told {line:?}");
    Ok(())
}

fn expect_error(stream: &mut TcpStream, kind: ErrorKind) -> Result<()> {
    match stream.read(&mut [0]) {
        Err(error) if error.kind() == kind => Ok(()),
        other => bail!("{other:?} instead of {kind:?}"),
    }
}

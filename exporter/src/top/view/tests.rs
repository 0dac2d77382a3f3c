// SPDX-License-Identifier: Apache-2.0
//! What is on the screen, character by character.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw;
use crate::flags::{Command, Flags, View};
use crate::top::answer::Answer;
use crate::top::fixture::{ANSWER, answer};
use crate::top::model::Model;
use crate::top::plain;

fn model(arguments: &[&str]) -> Model {
    let arguments = ["flowgauge", "top"].iter().chain(arguments).map(std::ffi::OsString::from);
    let Some(Command::Top(flags)) = Flags::parse_from(arguments).unwrap().command else { panic!("top") };
    Model::new(&flags)
}

fn answered(arguments: &[&str], now: Instant) -> Model {
    let mut model = model(arguments);
    model.take(&model.query.clone(), Ok(answer()), now);
    model
}

fn screen(model: &mut Model, width: u16, height: u16, now: Instant) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, now)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
}

#[test]
fn edges_in_80_columns() {
    let now = Instant::now();
    let mut model = answered(&[], now);
    insta::assert_snapshot!(screen(&mut model, 80, 20, now + Duration::from_secs(3)));
}

#[test]
fn addresses_and_an_error_in_80_columns() {
    let now = Instant::now();
    let mut model = answered(&["--by=address", "--view=connect", "--sort=connect_failures"], now);
    model.take(
        &model.query.clone(),
        Err("http://node-1:10950: Connection refused (os error 111)".into()),
        now,
    );
    insta::assert_snapshot!(screen(&mut model, 80, 18, now + Duration::from_secs(34)));
}

#[test]
fn names_have_namespaces_where_there_is_room() {
    let now = Instant::now();
    let mut model = answered(&["--view=http", "--filter=shop"], now);
    insta::assert_snapshot!(screen(&mut model, 120, 10, now));
}

#[test]
fn the_help_and_a_filter_being_written() {
    let now = Instant::now();
    let mut model = answered(&[], now);
    model.help = true;
    model.editing = Some("server_workload=ng".into());
    insta::assert_snapshot!(screen(&mut model, 80, 24, now));
}

#[test]
fn before_the_first_answer_and_without_one() {
    let now = Instant::now();
    let mut model = model(&["--url=https://node-1:10950"]);
    assert!(screen(&mut model, 80, 20, now).contains("asking https://node-1:10950"));
    model.take(&model.query.clone(), Err("refused".into()), now);
    let shown = screen(&mut model, 80, 20, now);
    assert!(shown.contains("nothing known yet") && shown.contains("error: refused"), "{shown}");
}

#[test]
fn no_size_of_terminal_is_too_small_or_too_large() {
    let now = Instant::now();
    for arguments in [&[][..], &["--by=address"]] {
        let mut model = answered(arguments, now);
        for view in [View::Traffic, View::Loss, View::Connect, View::Dns, View::Http] {
            model.view = view;
            for (width, height) in [(1, 1), (2, 3), (7, 40), (20, 5), (60, 6), (79, 16), (400, 100), (500, 1)]
            {
                model.help = width > 60;
                screen(&mut model, width, height, now);
            }
        }
    }
}

#[test]
fn a_plain_table_is_as_wide_as_what_is_in_it() {
    let now = Instant::now();
    insta::assert_snapshot!(plain::table(&answered(&["--by=address"], now)));
    assert_eq!(plain::table(&model(&[])), "");
}

#[test]
fn nothing_that_a_server_says_reaches_the_terminal_as_a_command() {
    let now = Instant::now();
    let nasty = ANSWER
        .replace("checkout", "check\\u001b[2J\\u009b31mout\\u202e")
        .replace("node-1", "no\\u0007de\\u001b]0;title\\u0007")
        .replace("192.0.2.7", "192\\r\\n.0");
    for by in ["--by=edge", "--by=address"] {
        let mut model = model(&[by]);
        model.take(&model.query.clone(), Answer::parse(nasty.as_bytes()), now);
        assert_eq!(model.rows().len(), 3, "{:?}", model.error);
        for text in [screen(&mut model, 120, 30, now), plain::table(&model)] {
            assert!(text.contains("check\u{fffd}[2J"), "{text}");
            assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
        }
    }
}

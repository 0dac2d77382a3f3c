// SPDX-License-Identifier: Apache-2.0
use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{Effect, Model};
use crate::flags::{Command, Flags, RowsBy, View, Window};
use crate::top::answer::Answer;
use crate::top::fixture::{ANSWER, answer};

fn model(arguments: &[&str]) -> Model {
    let arguments = ["flowgauge", "top"].iter().chain(arguments).map(std::ffi::OsString::from);
    let Some(Command::Top(flags)) = Flags::parse_from(arguments).unwrap().command else { panic!("top") };
    Model::new(&flags)
}

fn answered(arguments: &[&str]) -> Model {
    let mut model = model(arguments);
    model.take(&model.query.clone(), Ok(answer()), Instant::now());
    model
}

fn press(model: &mut Model, code: KeyCode) -> Effect {
    model.press(KeyEvent::new(code, KeyModifiers::NONE))
}

fn write(model: &mut Model, text: &str) {
    for c in text.chars() {
        assert_eq!(press(model, KeyCode::Char(c)), Effect::Draw);
    }
}

#[test]
fn keys_change_the_question() {
    let mut model = answered(&[]);
    assert_eq!(model.query.encode(), "format=json&by=edge&window=5m&sort=bytes&order=desc&limit=200");
    assert_eq!(press(&mut model, KeyCode::Char('w')), Effect::Ask);
    assert_eq!(press(&mut model, KeyCode::Char('r')), Effect::Ask);
    assert_eq!(press(&mut model, KeyCode::Char('a')), Effect::Ask);
    assert_eq!(press(&mut model, KeyCode::Char('>')), Effect::Ask);
    assert_eq!(model.query.encode(), "format=json&by=address&window=15m&sort=sent_bytes&order=asc&limit=200");
    for window in [Window::One, Window::Five] {
        press(&mut model, KeyCode::Char('w'));
        assert_eq!(model.query.window, window);
    }
    press(&mut model, KeyCode::Left);
    press(&mut model, KeyCode::Left);
    assert_eq!(model.query.sort, "retransmit_ratio", "the one before the first is the last");
    press(&mut model, KeyCode::Tab);
    assert_eq!(model.view, View::Loss);
    press(&mut model, KeyCode::Char('4'));
    press(&mut model, KeyCode::Right);
    assert_eq!((model.view, model.query.sort.as_str()), (View::Dns, "dns_queries"));
}

#[test]
fn every_way_to_end() {
    let mut model = answered(&[]);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Effect::Quit);
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(model.press(ctrl_c), Effect::Quit);
    press(&mut model, KeyCode::Char('?'));
    assert_eq!(press(&mut model, KeyCode::Char('q')), Effect::Quit);
    press(&mut model, KeyCode::Char('/'));
    assert_eq!(press(&mut model, KeyCode::Char('q')), Effect::Draw, "q is a letter there");
    assert_eq!(model.press(ctrl_c), Effect::Quit);
    let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
    assert_eq!(answered(&[]).press(released), Effect::Draw);
}

#[test]
fn filters_are_written_and_cleared() {
    let mut model = answered(&["--filter=observer=client"]);
    assert_eq!(model.filter, "observer=client");
    press(&mut model, KeyCode::Char('/'));
    write(&mut model, " dns x");
    press(&mut model, KeyCode::Backspace);
    press(&mut model, KeyCode::Backspace);
    assert_eq!(press(&mut model, KeyCode::Enter), Effect::Ask);
    assert!(model.query.encode().ends_with("&observer=client"));
    assert_eq!(model.rows().len(), 1, "only coredns mentions dns");
    press(&mut model, KeyCode::Char('/'));
    write(&mut model, "y");
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.filter.as_str(), model.editing.as_ref()), ("observer=client dns", None));
    assert_eq!(press(&mut model, KeyCode::Char('c')), Effect::Ask);
    assert_eq!((model.filter.as_str(), model.rows().len()), ("", 3));
    press(&mut model, KeyCode::Char('/'));
    write(&mut model, &"x".repeat(600));
    assert_eq!(model.editing.as_ref().unwrap().len(), 512);
    model.press(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    assert_eq!(model.editing.as_deref(), Some(""));
}

#[test]
fn an_edge_opens_to_its_addresses_and_back() {
    let mut model = answered(&["--sort=addresses", "--filter=address=192.0.2.0/24", "--filter=check"]);
    assert_eq!(press(&mut model, KeyCode::Enter), Effect::Ask);
    let query = model.query.encode();
    for part in [
        "by=address",
        "&sort=bytes&",
        "&address=192.0.2.0%2F24",
        "&client_workload=checkout",
        "&server_namespace=&",
    ] {
        assert!(query.contains(part), "{part}: {query}");
    }
    assert!(model.filter.contains("server_workload=payments.example.com"), "{}", model.filter);
    // An address has nothing behind it.
    model.take(&model.query.clone(), Ok(answer()), Instant::now());
    assert_eq!(press(&mut model, KeyCode::Enter), Effect::Draw);
    assert_eq!(press(&mut model, KeyCode::Backspace), Effect::Ask);
    assert_eq!((model.query.by, model.query.sort.as_str()), (RowsBy::Edge, "addresses"));
    assert_eq!(model.filter, "address=192.0.2.0/24 check");
    assert_eq!(press(&mut model, KeyCode::Backspace), Effect::Draw);
    let mut empty = super::tests::model(&[]);
    assert_eq!(press(&mut empty, KeyCode::Enter), Effect::Draw, "nothing is selected");
}

#[test]
fn the_selected_row_stays_selected_wherever_it_goes() {
    let mut model = answered(&[]);
    assert_eq!(model.table.selected(), Some(0));
    press(&mut model, KeyCode::Down);
    let name = model.selected().unwrap().label("server_workload").to_owned();
    let mut turned = answer();
    turned.rows.0.reverse();
    turned.rows.0.swap(0, 1);
    model.take(&model.query.clone(), Ok(turned), Instant::now());
    assert_eq!(model.selected().unwrap().label("server_workload"), name);
    press(&mut model, KeyCode::End);
    press(&mut model, KeyCode::PageDown);
    assert_eq!(model.table.selected(), Some(2));
    let one = Answer::parse(br#"{"version": 1, "rows": [{}]}"#).unwrap();
    model.take(&model.query.clone(), Ok(one), Instant::now());
    assert_eq!(model.table.selected(), Some(0));
    press(&mut model, KeyCode::Home);
    press(&mut model, KeyCode::Up);
    assert_eq!(model.table.selected(), Some(0));
    let none = Answer::parse(br#"{"version": 1, "rows": []}"#).unwrap();
    model.take(&model.query.clone(), Ok(none), Instant::now());
    assert_eq!((model.table.selected(), press(&mut model, KeyCode::Down)), (None, Effect::Draw));
}

#[test]
fn an_error_leaves_what_is_shown() {
    let mut model = answered(&[]);
    model.take(&model.query.clone(), Err("broken\u{1b}[2J".to_owned()), Instant::now());
    assert_eq!(model.error.as_deref(), Some("broken\u{fffd}[2J"));
    assert_eq!(model.rows().len(), 3);
    model.take(&model.query.clone(), Ok(answer()), Instant::now());
    assert_eq!(model.error, None);
}

#[test]
fn pausing_asks_once_more_when_it_ends() {
    let mut model = answered(&[]);
    assert_eq!((press(&mut model, KeyCode::Char('p')), model.paused), (Effect::Draw, true));
    assert_eq!(press(&mut model, KeyCode::Char(' ')), Effect::Ask);
    assert_eq!((press(&mut model, KeyCode::Char('p')), model.paused), (Effect::Ask, false));
}

#[test]
fn the_fixture_is_what_the_manual_describes() {
    assert!(Answer::parse(ANSWER.as_bytes()).is_ok());
}

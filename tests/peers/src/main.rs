//! The benchmark against other policy engines: one workload, checked decision by decision, and one
//! table.
#![expect(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to say, and its table is what it prints"
)]

mod cedar;
mod guests;
mod lua;
mod machine;
mod measure;
mod native;
mod ours;
mod peer;
mod records;
mod rego;
mod settings;
mod table;
mod workload;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use keyward::policy::{Engine, ReuseOptions};
use keyward::registry::memory::MemoryLoader;
use keyward::request::AccessRequest;

use ours::{FromEmpty, FromParts, Host, Recorded, Unrecorded};
use peer::{Peer, Row};
use workload::{MILLION_COPIES, Request, Workload};

const USAGE: &str = "usage: keyward-peers [--check | --guests FOLDER] [--rounds N]";
const ROUNDS_DEFAULT: usize = 7;
/// What keyward's rows measure of the lock file.
const OURS: &[&str] = &["keyward"];

/// What was asked for.
struct Options {
    is_check: bool,
    /// Where the policies in other languages are; they are then measured, and nothing else.
    guests: Option<PathBuf>,
    rounds: usize,
}

/// keyward with its keys in memory, and what it was asked, as its rows share them.
struct Ours {
    host: Arc<Host>,
    requests: Arc<[AccessRequest]>,
}

fn main() -> ExitCode {
    let Some(options) = Options::read(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(difference) => {
            eprintln!("{difference}");
            ExitCode::FAILURE
        }
    }
}

/// Checks, and unless that is all, measures and prints.
fn run(options: &Options) -> Result<(), String> {
    let engine = Engine::new(None).unwrap();
    if let Some(folder) = &options.guests {
        let mut rows = guests::rows(&engine, &Workload::measured(), folder)?;
        let measured = measure::measure(&mut rows, options.rounds);
        let base = (guests::RUST, guests::RUST);
        println!(
            "{}\n{}",
            table::markdown(&rows, &measured, base),
            machine::line()
        );
        return Ok(());
    }
    let edges = Workload::edges();
    let (_, mut rows) = rows_of(&engine, &edges);
    agree(&mut rows, &edges)?;
    let workload = Workload::measured();
    let (ours, mut rows) = rows_of(&engine, &workload);
    if !options.is_check {
        rows.extend(million(&engine, &workload));
    }
    agree(&mut rows, &workload)?;
    if options.is_check {
        return Ok(());
    }
    let measured = measure::measure(&mut rows, options.rounds);
    println!(
        "{}",
        table::markdown(&rows, &measured, (table::NATIVE, table::KEYWARD))
    );
    let unrecorded = |request: &AccessRequest| ours.host.unrecorded(request);
    let recorded = |request: &AccessRequest| ours.host.recorded(request);
    let native = native::Native::new(&workload.keys);
    let alone = |request: &Request| native.answer(request);
    let often = (options.rounds, measure::THREAD_PASSES);
    let rarely = (options.rounds, measure::THREAD_PASSES_RECORDED);
    let alone = measure::two_threads(&workload.requests, often, alone);
    let unrecorded = measure::two_threads(&ours.requests, often, unrecorded);
    let recorded = measure::two_threads(&ours.requests, rarely, recorded);
    println!(
        "two threads over one: {} {alone:.2}×, {} {unrecorded:.2}×, written {recorded:.2}×",
        table::NATIVE,
        table::KEYWARD
    );
    println!("\n{}", machine::line());
    Ok(())
}

/// All rows of a workload, in the order of the table.
fn rows_of(engine: &Engine, workload: &Workload) -> (Ours, Vec<Row>) {
    let mut rows = others(workload);
    let requests: Arc<[Request]> = workload.requests.as_slice().into();
    let host = |options| Arc::new(Host::new(engine, ours::registry(workload), options));
    let ours = Ours {
        host: host(ReuseOptions::default()),
        requests: ours::access_requests(&requests),
    };
    let (cold, empty) = (host(ReuseOptions::OFF), host(ReuseOptions::default()));
    let unrecorded = |host: &Arc<Host>| Unrecorded {
        host: Arc::clone(host),
        requests: Arc::clone(&ours.requests),
    };
    let recorded = |host: &Arc<Host>| Recorded {
        host: Arc::clone(host),
        requests: Arc::clone(&ours.requests),
    };
    let peers: [(_, Box<dyn Peer>); 6] = [
        (table::KEYWARD, Box::new(unrecorded(&ours.host))),
        (
            "keyward warm, request built too",
            Box::new(FromParts(Arc::clone(&ours.host))),
        ),
        ("keyward warm, written", Box::new(recorded(&ours.host))),
        (
            "keyward, nothing to reuse when a pass begins",
            Box::new(FromEmpty(unrecorded(&empty))),
        ),
        ("keyward cold", Box::new(unrecorded(&cold))),
        ("keyward cold, written", Box::new(recorded(&cold))),
    ];
    rows.extend(peers.map(|(name, peer)| row(workload, &requests, (name, OURS, peer))));
    (ours, rows)
}

/// The rows of the other engines.
fn others(workload: &Workload) -> Vec<Row> {
    let requests: Arc<[Request]> = workload.requests.as_slice().into();
    let (keys, lua): (_, &[_]) = (&workload.keys, &["mlua", "luajit-src"]);
    let peers: [(_, &[_], Box<dyn Peer>); 7] = [
        (table::NATIVE, &[], Box::new(native::Native::new(keys))),
        (
            "native Rust, records",
            &[],
            Box::new(records::Records::new(keys)),
        ),
        ("LuaJIT", lua, Box::new(lua::Scripted::new(workload))),
        (
            "regorus, virtual machine",
            &["regorus"],
            Box::new(rego::Compiled::new(workload)),
        ),
        (
            "regorus, interpreter",
            &["regorus"],
            Box::new(rego::Interpreted::new(workload)),
        ),
        (
            "Cedar, prebuilt store",
            &["cedar-policy"],
            Box::new(cedar::Stored::new(workload)),
        ),
        (
            "Cedar, entities built per request",
            &["cedar-policy"],
            Box::new(cedar::Sliced::new(workload)),
        ),
    ];
    let row = |peer| row(workload, &requests, peer);
    peers.map(row).into()
}

fn row(
    workload: &Workload,
    requests: &Arc<[Request]>,
    (name, packages, peer): (&'static str, &'static [&'static str], Box<dyn Peer>),
) -> Row {
    Row {
        name,
        packages,
        keys: workload.keys.len(),
        requests: Arc::clone(requests),
        peer,
    }
}

/// The rows with a million keys.
fn million(engine: &Engine, workload: &Workload) -> Vec<Row> {
    let requests: Arc<[Request]> = workload.multiplied(MILLION_COPIES).into();
    let (mut native, mut loader) = (native::Native::new(&[]), MemoryLoader::default());
    for copy in 0..MILLION_COPIES {
        let (keys, lines) = workload.copy(copy);
        native.add(&keys);
        ours::add(&mut loader, &lines);
    }
    let host = Host::new(engine, loader.finish(), ReuseOptions::default());
    let warm = Unrecorded {
        host: Arc::new(host),
        requests: ours::access_requests(&requests),
    };
    let row = |name, packages, peer: Box<dyn Peer>| Row {
        name,
        packages,
        keys: workload.keys.len() * MILLION_COPIES,
        requests: Arc::clone(&requests),
        peer,
    };
    vec![
        row("native Rust, compiled keys", &[], Box::new(native)),
        row(table::KEYWARD, OURS, Box::new(warm)),
    ]
}

/// Whether every row decides every request as expected; the first difference, if not.
fn agree(rows: &mut [Row], workload: &Workload) -> Result<(), String> {
    for row in &mut *rows {
        measure::check(row, &workload.expected)?;
    }
    let (rows, requests) = (rows.len(), workload.requests.len());
    eprintln!("{rows} rows agree with what is expected on {requests} requests");
    Ok(())
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            is_check: false,
            guests: None,
            rounds: ROUNDS_DEFAULT,
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--check" => options.is_check = true,
                "--guests" => options.guests = Some(args.next()?.into()),
                "--rounds" => {
                    let rounds = args.next().and_then(|rounds| rounds.parse().ok());
                    options.rounds = rounds.filter(|rounds| *rounds > 0)?;
                }
                _ => return None,
            }
        }
        Some(options)
    }
}

//! How the bench speaks with the processes of its roles: a line in, a line out.

use std::io::{BufRead, Write};

use tokio::net::{TcpListener, TcpSocket};

/// Says one line to the bench.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A bench that is gone needs no answer: standard input ends next.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Answers line by line until standard input ends.
pub fn serve(mut answer: impl FnMut(&[&str]) -> anyhow::Result<String>) -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        say(&answer(&words)?);
    }
    Ok(())
}

/// Listens on the loopback, with room for everyone who dials at once: who finds none is a second late,
/// and that would be measured.
pub fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(4096)
}

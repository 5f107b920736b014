//! socketioxide on hyper as the echo fixture, on one thread unless told otherwise.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Parser;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio::{net::TcpListener, runtime};

/// The echo fixture.
#[derive(Debug, Parser)]
struct Arguments {
    /// The port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The time between two pings.
    #[arg(long)]
    ping_interval_ms: u64,
    /// Worker threads; 0 is the current-thread runtime.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// The argument of `say`.
#[derive(Debug, Deserialize)]
struct Say {
    room: String,
    data: Value,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = match arguments.threads {
        0 => runtime::Builder::new_current_thread().enable_all().build()?,
        threads => runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?,
    };
    runtime.block_on(serve(arguments.port, Duration::from_millis(arguments.ping_interval_ms)))
}

async fn serve(port: u16, ping_interval: Duration) -> Result<()> {
    let (service, io) = SocketIo::builder().ping_interval(ping_interval).build_svc();
    io.ns("/", on_connect);
    let service = Arc::new(service);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that goes in the middle of a request is no error of the server.
            drop(connection.with_upgrades().await);
        });
    }
}

async fn on_connect(socket: SocketRef, Data(auth): Data<Value>) {
    // Who cannot be told anything has gone: nothing is left to be done.
    socket.emit("auth", &auth).ok();
    socket.on("echo", async |ack: AckSender, Data::<Value>(argument)| {
        ack.send(&argument).ok();
    });
    socket.on("join", async |socket: SocketRef, ack: AckSender, Data::<String>(room)| {
        socket.join(room);
        ack.send(&()).ok();
    });
    socket.on("say", async |io: SocketIo, ack: AckSender, Data::<Say>(say)| {
        io.to(say.room).emit("said", &say.data).await.ok();
        ack.send(&()).ok();
    });
}

//! P36: SIGTERM tells the clients, finishes what is under way, and ends in time.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{client::Client, command::Sandbox, process::Server};

#[tokio::test(flavor = "multi_thread")]
async fn p36_sigterm_under_load_tells_everybody_and_loses_nothing() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let mut clients = Vec::new();
    for user in ["ann", "ben", "cem"] {
        clients.push(Client::connect(server.address, user).await);
    }
    let elsewhere = [("/messages", "dot"), ("/notifications", "eve")];
    for (namespace, user) in elsewhere {
        let auth = json!({"token": crate::support::token::of(user)});
        clients.push(Client::join(server.address, namespace, auth).await.expect("admitted"));
    }
    let id = clients[0].group(&["ben", "cem", "dot"]).await;
    let draft = |n: u64| json!({"conversationId": id, "content": format!("{n}"), "clientId": format!("key {n}")});
    let mut under_way = FuturesUnordered::new();
    for n in 0..600 {
        let ack = clients[usize::try_from(n % 3).expect("small")].call("message:send", &draft(n));
        under_way.push(async move { (n, ack.await) });
    }
    let mut acked = vec![under_way.next().await.expect("one")];
    server.terminate();
    acked.extend(under_way.collect::<Vec<_>>().await);
    for client in clients {
        let events = client.closed().await;
        let told: Vec<_> = events.iter().filter(|event| event.name == "server:restarting").collect();
        assert_eq!(told.len(), 1, "{events:?}");
        assert!(told[0].payload["retryAfterMs"].as_u64().is_some_and(|wait| (500..5000).contains(&wait)));
    }
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains(r#""message":"stopped""#), "{log}");

    let server = Server::start(&sandbox).await;
    let mut again = Vec::new();
    for user in ["ann", "ben", "cem"] {
        again.push(Client::connect(server.address, user).await);
    }
    for (n, ack) in acked {
        let repeat = again[usize::try_from(n % 3).expect("small")].ok("message:send", draft(n)).await;
        let Some(ack) = ack else { continue };
        assert_eq!(ack["ok"], true, "{ack}");
        assert_eq!(
            (&repeat["seq"], &repeat["duplicate"]),
            (&ack["seq"], &json!(true)),
            "{n} was acknowledged, and lost"
        );
    }
    assert_eq!(again[0].missed(json!({}), 500).await.expect("an ack").0.len(), 600);
}

/// A request that never ends would hold up the stop until its time is over.
#[tokio::test]
async fn p36_a_second_sigterm_does_not_wait_for_anybody() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox).await;
    let mut ann = Client::connect(server.address, "ann").await;
    let mut endless = TcpStream::connect(server.address).await.expect("it listens");
    let request = "POST /api/messages HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\
                   Content-Type: application/json\r\nAuthorization: Bearer ";
    let request = format!("{request}{}\r\n\r\n", crate::support::token::of("ann"));
    endless.write_all(request.as_bytes()).await.expect("sent");
    // The server asks for the body: the request is being handled.
    let mut asked = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut endless, &mut asked);
    crate::support::within("100 Continue", read).await.expect("an answer");
    assert_eq!(&asked, b"HTTP/1.1 100");
    server.terminate();
    assert_ne!(ann.event("server:restarting").await, Value::Null);
    server.terminate();
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("told to stop a second time"), "{log}");
    assert!(!log.contains("did not leave in time"), "{log}");
}

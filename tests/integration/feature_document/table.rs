//! `docs/feature-document.md`: nothing of the document is missing there, and what it names exists.

use std::{fs, path::Path};

/// The headings of the document, in its order, but for its title and its table of contents.
const HEADINGS: &[&str] = &[
    "Core Real-Time Features",
    "1. Message Deletion Notifications",
    "2. Conversation Rooms",
    "3. Missed Messages Recovery",
    "4. Advanced Typing Indicators",
    "5. Redis Adapter for Multi-Instance",
    "Persistent Notifications System",
    "Notification Types",
    "Schema Features",
    "API Endpoints",
    "Real-Time Events (via /notifications namespace)",
    "Message Queue & Offline Support",
    "Features",
    "How It Works",
    "Configuration",
    "Socket.IO Architecture",
    "Namespace Design",
    "Client Connection Examples",
    "Advanced Socket.IO Configuration",
    "Security & Rate Limiting",
    "WebSocket Rate Limiting",
    "JWT Authentication",
    "Configuration",
    "Monitoring & Metrics",
    "Heartbeat System",
    "Getting Metrics",
    "WebSocket Logging",
    "Log Example",
    "Conflict Management",
    "Message Locking Mechanism",
    "How It Works",
    "Client Integration",
    "Configuration",
    "Advanced Status Features",
    "Custom User Statuses",
    "Last Seen Per Conversation",
    "Client Usage",
    "Configuration Guide",
    "Environment Variables",
    "Socket.IO Core",
    "Socket.IO Advanced",
    "Redis Configuration",
    "Security",
    "Message Queue",
    "Conflict Management",
    "Recommended Production Settings",
    "Performance Tips",
    "1. Enable Redis in Production",
    "2. Optimize Socket.IO Settings",
    "3. Rate Limiting",
    "4. Monitoring",
    "5. Message Queue",
    "Troubleshooting",
    "Connection Issues",
    "Rate Limiting Too Aggressive",
    "Redis Connection Errors",
    "High Latency",
    "Conflict Locks Not Releasing",
    "Migration Guide",
    "From Legacy to Namespace Architecture",
    "Future Enhancements",
    "Support",
];

/// A row: heading, promise, code, tests, status.
fn rows(table: &str) -> Vec<[&str; 5]> {
    let lines = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| heading"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            <[&str; 5]>::try_from(cells).unwrap_or_else(|cells| panic!("five cells: {cells:?}"))
        })
        .collect()
}

/// What stands in back quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_table_has_every_heading_and_names_code_and_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/feature-document.md")).expect("UTF-8");
    let rows = rows(&table);
    let headings: Vec<_> = rows.iter().map(|[heading, ..]| heading.trim_matches('*')).collect();
    assert_eq!(headings, HEADINGS);
    for [heading, promise, code, tests, status] in rows {
        assert!(!promise.is_empty(), "{heading}");
        assert!(
            ["works", "partly: ", "not: ", "see below"].iter().any(|word| status.starts_with(word)),
            "{heading}: {status}"
        );
        for path in quoted(code) {
            assert!(root.join(path).exists(), "{heading}: there is no {path}");
        }
        // A file, and the tests in it up to the next file.
        let mut text = String::new();
        for name in quoted(tests) {
            if name.contains('/') {
                text = fs::read_to_string(root.join(name)).unwrap_or_else(|_| panic!("{heading}: there is no {name}"));
            } else {
                let found = text.contains(&format!("fn {name}(")) || text.contains(&format!("test('{name}"));
                assert!(found, "{heading}: there is no test {name}");
            }
        }
    }
}

//! What a disk that hangs does to the service: a registry that does not answer stands for it.

use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;

use super::super::tests::{NOW, authorizer};
use super::*;
use crate::credential::Presented;
use crate::key::KeyId;
use crate::registry::Registry;
use crate::request::RequestParts;

const CORES: usize = 2;

/// Answers once it is told to, and says when it is asked.
#[derive(Debug)]
struct Hanging {
    asked: Sender<()>,
    answer: Mutex<Receiver<()>>,
}

impl Registry for Hanging {
    fn lookup(&self, _id: &KeyId) -> Option<Arc<KeyEntry>> {
        self.asked.send(()).unwrap();
        let _ended = self.answer.lock().recv();
        None
    }
}

fn request() -> AccessRequest {
    let presented = Presented::KeyId("k7Qp2mXw9LaR".into());
    AccessRequest::new(RequestParts::new(NOW, presented, "GET", "/a")).unwrap()
}

#[test]
fn those_who_hang_leave_one_thread_to_tell_the_others_so() {
    let folder = tempfile::tempdir().unwrap();
    let (asked, is_asked) = channel();
    let (answer, answered) = channel();
    let registry = Hanging {
        asked,
        answer: Mutex::new(answered),
    };
    let authorizer = Arc::new(authorizer(folder.path(), Box::new(registry)));
    let deadline = Duration::from_millis(20);
    let decider = Arc::new(Decider::new(authorizer, deadline, CORES));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CORES + 1)
        .enable_time()
        .build()
        .unwrap();
    let ask = || {
        let decider = Arc::clone(&decider);
        runtime.spawn(async move { decider.decide(request()).await })
    };

    let hanging: Vec<_> = (0..CORES).map(|_| ask()).collect();
    (0..CORES).for_each(|_| is_asked.recv().unwrap());
    for _ in 0..CORES + 1 {
        assert_eq!(runtime.block_on(ask()).unwrap().unwrap_err(), Late);
    }
    assert!(hanging.iter().all(|it| !it.is_finished()));

    drop(answer);
    for one in hanging {
        let (decision, _) = runtime.block_on(one).unwrap().unwrap();
        assert_eq!(&*decision.record().reason, "key.unknown");
    }
}

// SPDX-License-Identifier: Apache-2.0

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::kubernetes::api::testing::*;

/// One recorder for each watch.
#[derive(Default)]
struct Recorders {
    node_pods: Arc<Recorder>,
    pods: Arc<Recorder>,
    services: Arc<Recorder>,
    endpoint_slices: Arc<Recorder>,
    nodes: Arc<Recorder>,
}

impl Recorders {
    fn sinks(&self) -> Sinks {
        Sinks {
            node_pods: self.node_pods.clone(),
            pods: Some(self.pods.clone()),
            services: self.services.clone(),
            endpoint_slices: self.endpoint_slices.clone(),
            nodes: self.nodes.clone(),
        }
    }
}

fn start(server: &Server, sinks: Sinks) -> Watches {
    let dir = tempfile::tempdir().unwrap();
    Watches::start_with(server.connection(dir.path(), "t"), "node-1".to_owned(), sinks, fast(), || ())
        .unwrap()
}

#[tokio::test]
async fn watches_all_there_is_and_a_refusal_costs_one() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/api/v1/pods" if asked.has("fieldSelector=spec.nodeName%3Dnode-1") => (200, stream(&["mine"], 7)),
        "/api/v1/pods" => (200, stream(&["mine", "other"], 7)),
        "/api/v1/services" => (200, stream(&["service"], 7)),
        "/api/v1/nodes" => (200, stream(&["node-1"], 7)),
        "/apis/discovery.k8s.io/v1/endpointslices" => refuse(403, "endpointslices is forbidden: User ..."),
        _ => refuse(404, "no"),
    });
    let all = Recorders::default();
    let _watches = start(&server, all.sinks());
    all.node_pods.told_exactly(&["begin", "+mine", "end", "up"]).await;
    all.pods.told_exactly(&["begin", "+mine", "+other", "end", "up"]).await;
    all.services.told_exactly(&["begin", "+service", "end", "up"]).await;
    all.nodes.told_exactly(&["begin", "+node-1", "end", "up"]).await;
    all.endpoint_slices.wait("a second refusal", |told| told.len() > 1).await;
    let refused = "down: listing endpointslices is forbidden for this token: the ClusterRole needs list, watch \
                   on endpointslices of API group discovery.k8s.io";
    assert_eq!(all.endpoint_slices.told()[0], refused);
    assert_eq!(server.asked().iter().filter(|asked| asked.path == "/api/v1/services").count(), 1);
}

#[tokio::test]
async fn only_the_own_nodes_pods() {
    let server = Server::start(|_| (200, stream(&["x"], 7)));
    let all = Recorders::default();
    let _watches = start(&server, Sinks { pods: None, ..all.sinks() });
    all.nodes.told_exactly(&["begin", "+x", "end", "up"]).await;
    all.node_pods.told_exactly(&["begin", "+x", "end", "up"]).await;
    assert!(
        server.asked().iter().all(|asked| asked.path != "/api/v1/pods" || asked.query.contains("nodeName"))
    );
}

#[test]
fn confined_before_anything_else_and_ends_at_once_whatever_the_server_does() {
    // Accepts and never answers.
    let server = Server::start(|_| (200, vec![Step::Hold]));
    let dir = tempfile::tempdir().unwrap();
    let connection = server.connection(dir.path(), "t");
    let confined = Arc::<AtomicBool>::default();
    let set = Arc::clone(&confined);
    let confine = move || {
        std::thread::sleep(Duration::from_millis(20));
        set.store(true, Ordering::Release);
    };
    let sinks = Recorders::default().sinks();
    let watches = Watches::start_with(connection, "n".to_owned(), sinks, fast(), confine).unwrap();
    while server.asked().is_empty() {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(confined.load(Ordering::Acquire));
    let before = Instant::now();
    drop(watches);
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

/// Panics at the first object.
struct Fragile(Arc<Recorder>, AtomicBool);

impl Watched<Service> for Fragile {
    fn begin_list(&self) {}
    fn listed(&self, service: Service) {
        assert!(self.1.swap(true, Ordering::AcqRel), "the first service");
        self.0.listed(service);
    }
    fn end_list(&self) {}
    fn applied(&self, _: Service) {}
    fn deleted(&self, _: Service) {}
    fn down(&self, error: String) {
        Watched::<Service>::down(&*self.0, error);
    }
    fn up(&self) {}
}

#[tokio::test]
async fn a_panic_ends_nothing() {
    let server = Server::start(|_| (200, stream(&["x"], 7)));
    let all = Recorders::default();
    let fragile = Arc::new(Fragile(all.services.clone(), AtomicBool::new(false)));
    let _watches = start(&server, Sinks { services: fragile, ..all.sinks() });
    all.services.told_exactly(&["down: watching services: internal error, see the log", "+x"]).await;
    all.nodes.told_exactly(&["begin", "+x", "end", "up"]).await;
}

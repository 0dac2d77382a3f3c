// SPDX-License-Identifier: Apache-2.0
//! From a [`MetricSource`] to the bytes of a scrape: OpenMetrics 1.0 or classic text 0.0.4, plain or gzip.

mod classic;
mod labels;
mod negotiate;

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use crate::self_metrics::{ProcessCollector, SelfMetrics};
use crate::source::{MetricSource, PREFIX};

pub use labels::RenderedLabels;
pub use negotiate::{Coding, Format};

/// Buffers kept between scrapes: one as OpenMetrics, one as classic text. What several scrapers at once need more is given
/// back, for the memory of a whole exposition is what the exporter's own budget is made of.
const POOLED_BUFFERS: usize = 2;
/// A buffer larger than this is not kept, so that one enormous scrape does not hold memory for good.
const LARGEST_POOLED_BUFFER: usize = 16 << 20;

/// Renders scrapes. Shared by all connections; has no lock of its own, but the source holds the ledger's while its families
/// are written, so that they are of one pass. Compressing and adapting to classic text happen without it.
pub struct Exposition {
    registry: Registry,
    process: Registry,
    buffers: Arc<BufferPool>,
}

impl Exposition {
    /// Over the source's families, the exporter's own and the process's.
    pub fn new(source: Arc<dyn MetricSource>, own: Arc<SelfMetrics>, process: ProcessCollector) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(SourceCollector(source)));
        registry.register_collector(Box::new(own));
        let mut process_registry = Registry::default();
        process_registry.register_collector(Box::new(process));
        Self { registry, process: process_registry, buffers: Arc::default() }
    }

    /// Renders what the source holds now. Takes milliseconds: call it where blocking is allowed.
    ///
    /// # Errors
    /// When a collector fails to write its families or compressing fails, naming which.
    pub fn render(&self, format: Format, coding: Coding) -> anyhow::Result<Bytes> {
        let mut body = self.buffers.take_text();
        text::encode_registry(&mut body.0, &self.registry)
            .and_then(|()| text::encode_registry(&mut body.0, &self.process))
            .and_then(|()| text::encode_eof(&mut body.0))
            .map_err(|_| anyhow::anyhow!("a collector failed while it wrote its metric families"))?;
        if format == Format::Classic {
            let mut adapted = self.buffers.take_text();
            classic::from_openmetrics(&body.0, &mut adapted.0);
            body = adapted;
        }
        match coding {
            Coding::Identity => Ok(Bytes::from_owner(body)),
            Coding::Gzip => {
                let mut gzip = GzEncoder::new(Vec::with_capacity(body.0.len() / 8), Compression::fast());
                gzip.write_all(body.0.as_bytes())
                    .and_then(|()| gzip.finish())
                    .map(Bytes::from)
                    .map_err(|error| anyhow::anyhow!("compressing the scrape: {error}"))
            }
        }
    }
}

/// Lets the source be registered like any other collector.
struct SourceCollector(Arc<dyn MetricSource>);

impl std::fmt::Debug for SourceCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceCollector")
    }
}

impl Collector for SourceCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }
}

/// Text buffers that go round, so that a scrape of millions of bytes makes no garbage.
#[derive(Default)]
struct BufferPool(Mutex<Vec<String>>);

impl BufferPool {
    fn take_text(self: &Arc<Self>) -> Pooled {
        let mut text = self.0.lock().pop().unwrap_or_default();
        text.clear();
        Pooled(text, Arc::clone(self))
    }
}

/// A buffer that goes back to its pool when the last byte of it is sent.
struct Pooled(String, Arc<BufferPool>);

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut pool = self.1.0.lock();
        if pool.len() < POOLED_BUFFERS && self.0.capacity() <= LARGEST_POOLED_BUFFER {
            pool.push(std::mem::take(&mut self.0));
        }
    }
}

#[cfg(test)]
mod tests;

//! What pods take, as their kubelet counts it.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::Value;

use crate::cluster::Cluster;

/// Resident memory of a pod's containers.
#[derive(Clone, Debug)]
pub struct Resident {
    pub pod: String,
    pub bytes: u64,
}

impl Resident {
    pub fn megabytes(&self) -> u64 {
        self.bytes.div_ceil(1_000_000)
    }
}

/// The resident memory of each of `pods`; a pod that the kubelet does not count yet is an error.
pub async fn resident(cluster: &Cluster, pods: &[Pod]) -> Result<Vec<Resident>> {
    let mut all = Vec::with_capacity(pods.len());
    for pod in pods {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node = node.with_context(|| format!("pod {} has no node", pod.name_any()))?;
        let summary = cluster
            .raw(&format!("/api/v1/nodes/{node}/proxy/stats/summary"))
            .await?;
        let bytes = resident_bytes(&summary, &pod.uid().unwrap_or_default());
        let bytes =
            bytes.with_context(|| format!("no memory is counted for {}", pod.name_any()))?;
        all.push(Resident {
            pod: pod.name_any(),
            bytes,
        });
    }
    Ok(all)
}

fn resident_bytes(summary: &Value, uid: &str) -> Option<u64> {
    let pods = summary["pods"].as_array()?;
    let pod = pods.iter().find(|pod| pod["podRef"]["uid"] == uid)?;
    let containers = pod["containers"].as_array()?;
    let of = |container: &Value| {
        let memory = &container["memory"];
        memory["rssBytes"]
            .as_u64()
            .filter(|bytes| *bytes > 0)
            .or(memory["workingSetBytes"].as_u64())
    };
    containers.iter().map(of).sum()
}

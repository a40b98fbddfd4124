//! Field names and types exactly as in the recorded and derived samples
//! (`tests/fixtures/virtuozzo/`), keys in the samples' order.
//!
//! The wide variants add fields that the platform documents but no sample shows, and a few of
//! plausible name that only give an element the width seen on real platforms.

use serde::Serialize;

/// One element of `infos`, and GetEnvInfo's whole answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info<'a> {
    pub(super) env: EnvItem<'a>,
    pub(super) env_groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node_groups: Option<Vec<NodeGroupItem>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nodes: Option<Vec<NodeItem<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nodes_data: Option<[u8; 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nodes_internal_domains: Option<[u8; 0]>,
    pub(super) result: i32,
    pub(super) right: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnvItem<'a> {
    pub(super) appid: &'a str,
    pub(super) contexts: [u8; 0],
    pub(super) created_on: String,
    pub(super) creator_uid: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<&'a str>,
    pub(super) domain: String,
    pub(super) env_name: &'a str,
    pub(super) extdomains: &'a [String],
    pub(super) hardware_node_group: &'a str,
    pub(super) host_group: HostGroup,
    pub(super) is_firewall_enabled: bool,
    pub(super) is_transferring: bool,
    pub(super) ishaenabled: bool,
    pub(super) shortdomain: &'a str,
    pub(super) sslstate: bool,
    pub(super) status: u16,
    pub(super) uid: i64,
    #[serde(flatten)]
    pub(super) wide: Option<WideEnv>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostGroup {
    pub(super) display_name: &'static str,
    pub(super) unique_name: &'static str,
}

/// With these an `env` object has 41 fields when its `displayName` is set.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct WideEnv {
    pub(super) aliases: Vec<String>,
    pub(super) attributes_json: String,
    pub(super) backup_plan: &'static str,
    pub(super) description: &'static str,
    pub(super) engine: Engine,
    pub(super) env_group_count: u32,
    pub(super) icon_url: &'static str,
    pub(super) is_broken: bool,
    pub(super) is_export: bool,
    pub(super) is_hidden: bool,
    pub(super) is_installed: bool,
    pub(super) is_protected: bool,
    pub(super) is_remote: bool,
    pub(super) is_running: bool,
    pub(super) is_shared: bool,
    pub(super) is_sleep_allowed: bool,
    pub(super) max_nodes: u32,
    pub(super) mountpoints: [u8; 0],
    pub(super) note: &'static str,
    pub(super) original_status: u16,
    pub(super) owner_uid: i64,
    pub(super) properties: Properties,
    pub(super) region: &'static str,
    pub(super) triggers: [u8; 0],
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Properties {
    pub(super) locale: &'static str,
    pub(super) project_scope: &'static str,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Engine {
    pub(super) id: i64,
    pub(super) keyword: &'static str,
    pub(super) name: &'static str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) vcs_support: bool,
    pub(super) version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeGroupItem {
    pub(super) deployments: [u8; 0],
    pub(super) features: [&'static str; 1],
    #[serde(rename = "isSLBAccessEnabled")]
    pub(super) is_slb_access_enabled: bool,
    pub(super) is_sequential_deploy: bool,
    pub(super) name: &'static str,
    pub(super) redeploy_container_delay: u32,
    pub(super) redeploy_context_delay: u32,
    pub(super) restart_container_delay: u32,
    pub(super) restart_node_delay: u32,
    pub(super) scaling_mode: &'static str,
    pub(super) template_type: &'static str,
    pub(super) v_type: &'static str,
}

impl NodeGroupItem {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            deployments: [],
            features: ["FIREWALL"],
            is_slb_access_enabled: true,
            is_sequential_deploy: false,
            name,
            redeploy_container_delay: 30,
            redeploy_context_delay: 30,
            restart_container_delay: 0,
            restart_node_delay: 0,
            scaling_mode: "STATELESS",
            template_type: "NATIVE",
            v_type: "CT",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeItem<'a> {
    pub(super) addons: [u8; 0],
    pub(super) address: String,
    pub(super) admin_url: String,
    pub(super) bandwidth_limit: u32,
    pub(super) can_be_exported: bool,
    pub(super) context_validator_regex: &'static str,
    pub(super) ctid: i64,
    pub(super) customitem: DockerItem,
    pub(super) disk_io_limit: u32,
    pub(super) disk_iops_limit: u32,
    pub(super) disk_limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) endpoints: Option<[u8; 0]>,
    #[serde(rename = "extIPs", skip_serializing_if = "Option::is_none")]
    pub(super) ext_ips: Option<&'a Vec<String>>,
    pub(super) features: [&'static str; 1],
    pub(super) fixed_cloudlets: u32,
    pub(super) flexible_cloudlets: u32,
    #[serde(rename = "guestOSType")]
    pub(super) guest_os_type: &'static str,
    pub(super) has_packages: bool,
    #[serde(rename = "hostOSType")]
    pub(super) host_os_type: &'static str,
    pub(super) id: i64,
    #[serde(rename = "intIP")]
    pub(super) int_ip: String,
    pub(super) is_cluster_support: bool,
    pub(super) is_custom_ssl_support: bool,
    pub(super) is_external_ip_required: bool,
    pub(super) is_high_availability: bool,
    pub(super) is_reset_password: bool,
    pub(super) is_vcs_support: bool,
    pub(super) is_web_access: bool,
    pub(super) ismaster: bool,
    pub(super) maxchanks: u32,
    pub(super) messages: [u8; 0],
    pub(super) name: &'static str,
    pub(super) node_group: &'static str,
    pub(super) node_type: &'static str,
    pub(super) nodemission: &'static str,
    pub(super) os_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) packages: Option<[u8; 0]>,
    pub(super) port: u16,
    pub(super) single_context: bool,
    pub(super) status: u16,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) url: String,
    pub(super) user: &'static str,
    pub(super) v_type: &'static str,
    pub(super) version: &'static str,
    #[serde(flatten)]
    pub(super) wide: Option<WideNode>,
}

/// With these a node has 53 fields in a basic listing when `displayName`, `extIPs` and `password`
/// are set.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct WideNode {
    pub(super) active_engine: &'static str,
    pub(super) engines: [u8; 0],
    pub(super) has_addons: bool,
    pub(super) is_isolated: bool,
    pub(super) is_monitored: bool,
    pub(super) is_sequential: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
    pub(super) redeploy_policy: &'static str,
    pub(super) swap_limit: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "the platform's names")]
pub(super) struct DockerItem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) docker_manifest: Option<DockerManifest>,
    pub(super) docker_name: &'static str,
    pub(super) docker_os: &'static str,
    pub(super) docker_tag: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) docker_volumes: Option<[u8; 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) docker_volumes_from: Option<[u8; 0]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DockerManifest {
    pub(super) cmd: [&'static str; 1],
    pub(super) created: &'static str,
    pub(super) entrypoint: Option<[u8; 0]>,
    pub(super) env: [String; 2],
    pub(super) id: String,
    pub(super) image_id: String,
    pub(super) os: &'static str,
    pub(super) volumes: Option<[u8; 0]>,
    pub(super) workdir: &'static str,
}

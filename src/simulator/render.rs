//! Environments and nodes as the platform writes them: what is in which form of an answer.
//!
//! The field names and types themselves are in [`super::wire`].

use super::clock::wire_time;
use super::estate::{Environment, LAYERS, Layer, Node, REGIONS};
use super::wire::{
    DockerItem, DockerManifest, Engine, EnvItem, HostGroup, Info, NodeGroupItem, NodeItem, WideEnv,
    WideNode,
};

/// The domain under which the simulated platform hosts environments.
pub(crate) const DOMAIN: &str = "platform.example";

/// Which answer an environment is rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// GetBasicEnvsInfo.
    Basic,
    /// GetEnvs and GetEnvInfo.
    Full,
    /// GetEnvs and GetEnvInfo with `lazy=true`. What lazy leaves out is documented only as "only
    /// the main environment metadata"; here it leaves out nodes and node groups.
    Lazy,
}

/// `right` of an owner's own environment.
pub(crate) const OWNER: &str = "OWNER";

/// Appends one element of `infos`.
pub(crate) fn environment(
    environment: &Environment,
    form: Form,
    right: &str,
    wide: bool,
    out: &mut Vec<u8>,
) {
    let info = info(environment, form, right, wide);
    // Serialising plain structs into memory has no way to fail.
    let written = serde_json::to_writer(out, &info);
    debug_assert!(written.is_ok(), "an environment did not serialise: {written:?}");
}

fn info<'a>(environment: &'a Environment, form: Form, right: &'a str, wide: bool) -> Info<'a> {
    let with_nodes = form != Form::Lazy;
    Info {
        env: env_item(environment, wide),
        env_groups: &environment.groups,
        node_groups: with_nodes.then(|| node_groups(environment)),
        nodes: with_nodes.then(|| {
            environment.nodes.iter().map(|node| node_item(environment, node, form, wide)).collect()
        }),
        nodes_data: with_nodes.then_some([]),
        nodes_internal_domains: with_nodes.then_some([]),
        result: 0,
        right,
    }
}

fn env_item(environment: &Environment, wide: bool) -> EnvItem<'_> {
    let (unique_name, display_name) = REGIONS[environment.region];
    EnvItem {
        appid: &environment.appid,
        contexts: [],
        created_on: wire_time(environment.created_at),
        creator_uid: environment.creator_uid,
        display_name: environment.display_name.as_deref(),
        domain: format!("{}.{DOMAIN}", environment.name),
        env_name: &environment.name,
        extdomains: &environment.extdomains,
        hardware_node_group: unique_name,
        host_group: HostGroup { display_name, unique_name },
        is_firewall_enabled: true,
        is_transferring: false,
        ishaenabled: environment.high_availability,
        shortdomain: &environment.name,
        sslstate: environment.ssl,
        status: environment.status,
        uid: environment.uid,
        wide: wide.then(|| wide_env(environment)),
    }
}

fn wide_env(environment: &Environment) -> WideEnv {
    let layer = environment.nodes.first().map_or(&LAYERS[0], |node| &LAYERS[node.layer]);
    WideEnv {
        aliases: environment.extdomains.clone(),
        attributes_json: format!(
            "{{\"plan\":\"standard\",\"ref\":\"{}\"}}",
            &environment.appid[..8]
        ),
        original_status: environment.status,
        owner_uid: environment.uid,
        engine: Engine {
            id: 40 + environment.region as i64,
            keyword: layer.node_type,
            name: layer.name,
            kind: "java",
            vcs_support: true,
            version: layer.versions[0],
        },
        is_running: environment.status == 1,
        region: REGIONS[environment.region].0,
        ..WideEnv::default()
    }
}

fn node_groups(environment: &Environment) -> Vec<NodeGroupItem> {
    let mut groups = Vec::<NodeGroupItem>::with_capacity(2);
    for node in &environment.nodes {
        let layer = &LAYERS[node.layer];
        if groups.iter().all(|group| group.name != layer.group) {
            groups.push(NodeGroupItem::new(layer.group));
        }
    }
    groups
}

fn node_item<'a>(
    environment: &'a Environment,
    node: &'a Node,
    form: Form,
    wide: bool,
) -> NodeItem<'a> {
    let layer = &LAYERS[node.layer];
    let full = form == Form::Full;
    let [_, high, mid, low] = (node.id as u32).to_be_bytes();
    let address = format!("10.{high}.{mid}.{low}");
    let version = layer.versions[node.version];
    NodeItem {
        addons: [],
        address: address.clone(),
        admin_url: format!("http://{}{}-{}.{DOMAIN}", layer.group, node.id, environment.name),
        bandwidth_limit: 100_000,
        can_be_exported: false,
        context_validator_regex: CONTEXT_REGEX,
        ctid: node.id + 16_329,
        customitem: docker_item(layer, node, version, full),
        disk_io_limit: 10_000_000,
        disk_iops_limit: 1000,
        disk_limit: 100_000,
        display_name: node.display_name.as_deref(),
        endpoints: full.then_some([]),
        ext_ips: (!node.ext_ips.is_empty()).then_some(&node.ext_ips),
        features: ["FIREWALL"],
        fixed_cloudlets: node.fixed_cloudlets,
        flexible_cloudlets: node.flexible_cloudlets,
        guest_os_type: "LINUX",
        has_packages: false,
        host_os_type: "LINUX",
        id: node.id,
        int_ip: address,
        is_cluster_support: false,
        is_custom_ssl_support: false,
        is_external_ip_required: false,
        is_high_availability: false,
        is_reset_password: false,
        is_vcs_support: false,
        is_web_access: true,
        ismaster: node.master,
        maxchanks: node.flexible_cloudlets,
        messages: [],
        name: layer.name,
        node_group: layer.group,
        node_type: layer.node_type,
        nodemission: layer.group,
        os_type: "LINUX",
        packages: full.then_some([]),
        port: layer.port,
        single_context: false,
        status: node.status,
        kind: "NATIVE",
        url: format!("http://node{}-{}.{DOMAIN}", node.id, environment.name),
        user: "root",
        v_type: "CT",
        version,
        wide: wide.then(|| WideNode {
            active_engine: layer.node_type,
            // Data layers carry a password on the wire, which a mirror must not keep.
            password: (layer.port > 2048).then(|| format!("pw-{:08x}", node.id * 2_654_435)),
            ..WideNode::default()
        }),
    }
}

const CONTEXT_REGEX: &str = "^((([a-zA-Z0-9])+(-{1}([a-zA-Z0-9])+)+)|([a-zA-Z0-9]+))$";

fn docker_item(
    layer: &'static Layer,
    node: &Node,
    version: &'static str,
    full: bool,
) -> DockerItem {
    DockerItem {
        docker_manifest: full.then(|| DockerManifest {
            cmd: ["/bin/sh"],
            created: "2021-08-06T17:19:45.183996158Z",
            entrypoint: None,
            env: [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
                format!("DB_PASSWORD=secret-{}", node.id),
            ],
            id: format!("sha256:{:064x}", node.id),
            image_id: format!("sha256:{:064x}", node.id + 1),
            os: "linux",
            volumes: None,
            workdir: "",
        }),
        docker_name: layer.image,
        docker_os: ".alpine-3.x-x86_64",
        docker_tag: version,
        docker_volumes: full.then_some([]),
        docker_volumes_from: full.then_some([]),
    }
}

//! Recipes against recordings: a stand-in of the tool's name prints what the tool prints, a socket
//! answers as the daemon does, or a file is as the kernel writes it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use super::Kitchen;

/// What `postqueue -j` of Postfix 3.7 printed of a deferred and a held message.
const POSTQUEUE: &str = r#"{"queue_name": "deferred", "queue_id": "A6C4DC66C8", "arrival_time": ARRIVED, "message_size": 232, "forced_expire": false, "sender": "a@example.org", "recipients": [{"address": "b@example.net", "delay_reason": "Host or domain name not found. Name service error for name=example.net type=MX: Host not found, try again"}]}
{"queue_name": "hold", "queue_id": "AA997C66CC", "arrival_time": 1700000000, "message_size": 232, "forced_expire": false, "sender": "a@example.org", "recipients": [{"address": "\"odd \\\"one\\\"\"@example.net"}]}"#;

#[test]
fn mail_queue() {
    let kitchen = Kitchen::of("mail_queue");
    let now = jiff::Timestamp::now().as_second();
    kitchen.prints("postqueue", &POSTQUEUE.replace("ARRIVED", &(now - 7200).to_string()));
    let ran = kitchen.run();
    let count = |queue| ran.value("mail_queue", &serde_json::json!({ "queue": queue })).as_u64();
    assert_eq!(
        ["incoming", "active", "deferred", "hold"].map(count),
        [Some(0), Some(0), Some(1), Some(1)]
    );
    // What is held does not count as waiting.
    let oldest = ran.value("mail_oldest", &serde_json::Value::Null).as_i64().unwrap();
    assert!((7200..10_800).contains(&oldest), "{oldest}");

    kitchen.tool("postqueue", "exit 0");
    assert_eq!(
        kitchen.text(),
        "mail_queue{queue=incoming} 0 messages\nmail_queue{queue=active} 0 messages\n\
         mail_queue{queue=deferred} 0 messages\nmail_queue{queue=hold} 0 messages\n\
         mail_oldest 0 s\nok"
    );
    kitchen.tool(
        "postqueue",
        "echo 'postqueue: fatal: Connect to the Postfix showq service: Permission denied' >&2; exit 69",
    );
    kitchen.run().failed(69, "Permission denied");
}

const SCAN: &str = r#"{"json_format_version": [1, 0], "smartctl": {"exit_status": 0}, "devices": [
  {"name": "/dev/sda", "info_name": "/dev/sda", "type": "scsi", "protocol": "SCSI"},
  {"name": "/dev/sdb", "info_name": "/dev/sdb [SAT]", "type": "sat", "protocol": "ATA"},
  {"name": "/dev/nvme0", "info_name": "/dev/nvme0", "type": "nvme", "protocol": "NVMe"}MORE]}"#;

/// A disk that sleeps, one that fails (bits 3 and 4 of the exit code), one that is well, and two that
/// cannot be looked at.
const SMARTCTL: &str = r#"
case "$*" in
*--scan*) cat <<'EOT'
SCAN
EOT
;;
*'-n standby,3 -d auto '*/dev/sda) echo '{"smartctl": {"exit_status": 3, "messages": [{"string": "Device is in STANDBY mode, exit(3)", "severity": "information"}]}, "device": {"name": "/dev/sda"}}'; exit 3 ;;
*'-d sat '*/dev/sdb) cat <<'EOT'
{"smartctl": {"exit_status": 24}, "device": {"name": "/dev/sdb", "type": "sat", "protocol": "ATA"}, "model_name": "Disk \"X\" 4000",
 "smart_status": {"passed": false}, "temperature": {"current": 41}, "power_on_time": {"hours": 30412},
 "ata_smart_attributes": {"revision": 16, "table": [
  {"id": 5, "name": "Reallocated_Sector_Ct", "value": 1, "worst": 1, "thresh": 10, "when_failed": "now", "raw": {"value": 3968, "string": "3968"}},
  {"id": 194, "name": "Temperature_Celsius", "raw": {"value": 41, "string": "41 (Min/Max 18/52)"}},
  {"id": 197, "name": "Current_Pending_Sector", "raw": {"value": 16, "string": "16"}}]}}
EOT
exit 24 ;;
*/dev/sdc) echo '{"smartctl": {"exit_status": 2, "messages": [{"string": "Smartctl open device: /dev/sdc failed: Permission denied", "severity": "error"}]}}'; exit 2 ;;
*/dev/bus/0) exit 1 ;;
*'-d nvme '*/dev/nvme0) cat <<'EOT'
{"smartctl": {"exit_status": 0}, "device": {"name": "/dev/nvme0", "type": "nvme", "protocol": "NVMe"}, "model_name": "Fast 1TB",
 "smart_status": {"passed": true, "nvme": {"value": 0}}, "temperature": {"current": 36}, "power_on_time": {"hours": 812},
 "nvme_smart_health_information_log": {"critical_warning": 0, "percentage_used": 3, "media_errors": 0}}
EOT
;;
esac"#;

#[test]
fn smart() {
    let kitchen = Kitchen::of("smart");
    kitchen.tool("sudo", "shift; exec \"$@\"");
    kitchen.tool("smartctl", &SMARTCTL.replace("SCAN", &SCAN.replace("MORE", "")));
    let (sdb, nvme) =
        ("{device=/dev/sdb,model=Disk \"X\" 4000}", "{device=/dev/nvme0,model=Fast 1TB}");
    assert_eq!(
        kitchen.text(),
        format!(
            "smart_passed{sdb} false\nsmart_temperature{sdb} 41 Cel\nsmart_power_on{sdb} 30412 h\n\
             smart_reallocated{sdb} 3968 sectors\nsmart_pending{sdb} 16 sectors\n\
             smart_passed{nvme} true\nsmart_temperature{nvme} 36 Cel\nsmart_power_on{nvme} 812 h\n\
             smart_wear{nvme} 3 %\nsmart_media_errors{nvme} 0 errors\n\
             critical: /dev/sdb says that it fails"
        )
    );
    let hidden = r#"{"devices": [{"name": "/dev/sdc", "type": "sat"}, {"name": "/dev/bus/0", "type": "megaraid,4"}]}"#;
    kitchen.tool("smartctl", &SMARTCTL.replace("SCAN", hidden));
    assert_eq!(
        kitchen.text(),
        "smart_passed{device=/dev/sdc,model=unknown} null\n\
         smart_passed{device=/dev/bus/0 megaraid,4,model=unknown} null\n\
         unknown: /dev/sdc: Smartctl open device: /dev/sdc failed: Permission denied; \
         /dev/bus/0 megaraid,4: smartctl says nothing of its health"
    );
    kitchen
        .prints("smartctl", r#"{"json_format_version": [1, 0], "smartctl": {"exit_status": 0}}"#);
    kitchen.run().failed(1, "finds no disk");
}

/// What a daemon answers to the paths that the recipe asks for.
const DOCKER: &[(&str, &str, &str)] = &[
    (
        "/containers/json?all=1&filters=",
        "200 OK",
        r#"[{"Id": "aaa", "Names": ["/web"], "Image": "nginx", "State": "running", "Status": "Up 2 hours (healthy)", "Labels": {}},
            {"Id": "bbb", "Names": ["/job"], "Image": "job", "State": "exited", "Status": "Exited (1) 3 days ago", "Labels": {}},
            {"Id": "ccc", "Names": ["/gone"], "Image": "x", "State": "running", "Status": "Up 1 second", "Labels": {}},
            {"Id": "eee", "Names": ["/away"], "Image": "x", "State": "running", "Status": "Up 1 second", "Labels": {}},
            {"Id": "ddd", "Names": ["/held"], "Image": "x", "State": "paused", "Status": "Up 2 hours (Paused)", "Labels": {}}]"#,
    ),
    (
        "/containers/aaa/stats?stream=false&one-shot=true",
        "200 OK",
        r#"{"name": "/web", "memory_stats": {"usage": 52428800, "limit": 2062766080, "stats": {"inactive_file": 10485760}},
            "cpu_stats": {"cpu_usage": {"total_usage": 93250000000}, "online_cpus": 2}}"#,
    ),
    // It ended in between; of `eee`, which is gone, nothing is known any more.
    (
        "/containers/ccc/stats?stream=false&one-shot=true",
        "200 OK",
        r#"{"name": "/gone", "memory_stats": {}, "cpu_stats": {"cpu_usage": {"total_usage": 0}}}"#,
    ),
];

/// Answers as many requests as come, until the test's process ends.
fn daemon(socket: &str, answers: &'static [(&'static str, &'static str, &'static str)]) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let path = request.split(' ').nth(1).unwrap();
            let known = answers.iter().find(|(start, ..)| path.starts_with(start));
            let (status, body) = known.map_or(
                ("404 Not Found", r#"{"message": "page not found"}"#),
                |(_, status, body)| (*status, *body),
            );
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
            write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
}

#[test]
fn docker() {
    let mut kitchen = Kitchen::of("docker");
    let socket = kitchen.path("docker.sock");
    kitchen.setting("socket", &socket);
    kitchen.run().failed(1, "No such file or directory");
    daemon(&socket, DOCKER);
    assert_eq!(
        kitchen.text(),
        "container_memory{container=web} 41943040 B\ncontainer_cpu{container=web} 93.25 s\n\
         containers{state=running} 3 containers\ncontainers{state=restarting} 0 containers\n\
         containers{state=exited} 1 containers\ncontainers{state=paused} 1 containers\nok"
    );
    let old = kitchen.path("old.sock");
    daemon(
        &old,
        &[("/", "500 Internal Server Error", r#"{"message": "no space left on device"}"#)],
    );
    kitchen.setting("socket", &old);
    kitchen.run().failed(1, "containers/json: no space left on device");
    let odd = kitchen.path("odd.sock");
    daemon(&odd, &[("/", "502 Bad Gateway", "<html>")]);
    kitchen.setting("socket", &odd);
    kitchen.run().failed(1, "odd.sock: Expecting value");
}

#[test]
fn gpu() {
    let kitchen = Kitchen::of("gpu");
    kitchen.prints(
        "nvidia-smi",
        "0, NVIDIA A100-SXM4-40GB, 87, 30517, 40960, 61, 312.44\n\
         1, Quadro P400, [N/A], 12, 2048, 38, [Not Supported]",
    );
    let (a, b) = ("{gpu=0,model=NVIDIA A100-SXM4-40GB}", "{gpu=1,model=Quadro P400}");
    assert_eq!(
        kitchen.text(),
        format!(
            "gpu_busy{a} 87 %\ngpu_temperature{a} 61 Cel\ngpu_power{a} 312.44 W\n\
             gpu_memory_used{a} 31999393792 B\ngpu_memory{a} 42949672960 B\n\
             gpu_temperature{b} 38 Cel\ngpu_memory_used{b} 12582912 B\ngpu_memory{b} 2147483648 B\nok"
        )
    );
    kitchen.tool("nvidia-smi", "echo 'No devices were found'; exit 6");
    kitchen.run().failed(1, "No devices were found");
}

#[test]
fn zfs() {
    let kitchen = Kitchen::of("zfs");
    kitchen.prints(
        "zpool",
        "tank\t3985729650688\t3228441017057\t34\t81\tONLINE\n\
         old pool\t-\t-\t-\t-\tUNAVAIL\nbackup\t999653638144\t1048576\t-\t0\tDEGRADED",
    );
    assert_eq!(
        kitchen.text(),
        "zfs_online{pool=tank} true\nzfs_size{pool=tank} 3985729650688 B\n\
         zfs_used{pool=tank} 3228441017057 B\nzfs_fragmented{pool=tank} 34 %\nzfs_full{pool=tank} 81 %\n\
         zfs_online{pool=old pool} false\n\
         zfs_online{pool=backup} false\nzfs_size{pool=backup} 999653638144 B\n\
         zfs_used{pool=backup} 1048576 B\nzfs_full{pool=backup} 0 %\n\
         critical: old pool is UNAVAIL, backup is DEGRADED"
    );
    kitchen.tool("zpool", "exit 0");
    assert_eq!(kitchen.text(), "ok");
}

const SENSORS: &str = r#"{
   "coretemp-isa-0000":{
      "Adapter": "ISA adapter",
      "Package id 0":{
         "temp1_input": 47.000,
         "temp1_max": 80.000,
         "temp1_crit": 100.000,
         "temp1_crit_alarm": 0.000
      }
   },
   "nct6775-isa-0290":{
      "Adapter": "ISA adapter",
      "Vcore":{
         "in0_input": 0.864,
         "in0_alarm": 0.000
      },
      "CPU \"fan\"":{
         "fan2_input": 1153.000,
         "fan2_min": 0.000
      },
      "AUXTIN0":{
      }
   },
   "amdgpu-pci-0800":{
      "Adapter": "PCI adapter",
      "PPT":{
         "power1_average": 31.000
      }
   }
}"#;

#[test]
fn sensors() {
    let kitchen = Kitchen::of("sensors");
    kitchen.prints("sensors", SENSORS);
    assert_eq!(
        kitchen.text(),
        "sensor_temperature{chip=coretemp-isa-0000,sensor=Package id 0} 47 Cel\n\
         sensor_voltage{chip=nct6775-isa-0290,sensor=Vcore} 0.864 V\n\
         sensor_fan{chip=nct6775-isa-0290,sensor=CPU \"fan\"} 1153 rpm\n\
         sensor_power{chip=amdgpu-pci-0800,sensor=PPT} 31 W\nok"
    );
    kitchen.tool("sensors", "echo 'No sensors found!' >&2; exit 1");
    kitchen.run().failed(1, "No sensors found!");
}

#[test]
fn temperature() {
    let mut kitchen = Kitchen::of("temperature");
    let zones = kitchen.site.path("sys/class/thermal");
    kitchen.env("SYS", &kitchen.path("sys"));
    fs::create_dir_all(&zones).unwrap();
    kitchen.run().failed(1, "knows of no temperature");
    for (zone, kind, reading) in [
        ("0", "acpitz", Some("27800")),
        ("1", "the \"b\" side", Some("-1500")),
        ("10", "iwlwifi", None),
    ] {
        let folder = format!("sys/class/thermal/thermal_zone{zone}");
        fs::create_dir(kitchen.site.path(&folder)).unwrap();
        kitchen.site.write(&format!("{folder}/type"), format!("{kind}\n"), 0o644);
        if let Some(reading) = reading {
            kitchen.site.write(&format!("{folder}/temp"), format!("{reading}\n"), 0o644);
        }
    }
    assert_eq!(
        kitchen.text(),
        "temperature{kind=acpitz,zone=0} 27.8 Cel\ntemperature{kind=the \"b\" side,zone=1} -1.5 Cel\nok"
    );
}

const MDSTAT: &str = "Personalities : [raid1] [raid6] [raid5] [raid4] [raid0]
md0 : active raid1 sdb1[1] sda1[0]
      1046528 blocks super 1.2 [2/2] [UU]
      [===>.................]  check = 16.3% (171008/1046528) finish=0.1min speed=85504K/sec

md1 : active (auto-read-only) raid5 sdd1[3](F) sdc1[2] sdb2[1]
      2093056 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/2] [UU_]
      [>....................]  recovery =  4.0% (42176/1046528) finish=0.3min speed=42176K/sec
      bitmap: 1/1 pages [4KB], 65536KB chunk

md127 : active raid0 sdf1[1] sde1[0]
      2093056 blocks super 1.2 512k chunks

md9 : inactive sdg1[0](S)
      1046528 blocks super 1.2

unused devices: <none>
";

#[test]
fn raid() {
    let mut kitchen = Kitchen::of("raid");
    kitchen.env("PROC", &kitchen.path("proc"));
    fs::create_dir(kitchen.site.path("proc")).unwrap();
    kitchen.run().failed(2, "mdstat");
    kitchen.site.write("proc/mdstat", MDSTAT, 0o644);
    assert_eq!(
        kitchen.text(),
        "raid_active{array=md0} true\nraid_missing{array=md0} 0 disks\nraid_sync{array=md0} 16.3 %\n\
         raid_active{array=md1} true\nraid_missing{array=md1} 1 disks\nraid_sync{array=md1} 4 %\n\
         raid_active{array=md127} true\nraid_active{array=md9} false\n\
         critical: md1 lacks 1 of 3 disks, md9 is inactive"
    );
    kitchen.site.write("proc/mdstat", "Personalities : \nunused devices: <none>\n", 0o644);
    assert_eq!(kitchen.text(), "ok");
}

#[test]
fn ntp() {
    let kitchen = Kitchen::of("ntp");
    kitchen.prints(
        "chronyc",
        "C0000201,192.0.2.1,3,1795877118.204513908,-0.000042731,-0.000011846,0.000153267,\
         -8.214,0.001,0.047,0.011832741,0.000861205,1036.4,Normal",
    );
    assert_eq!(
        kitchen.text(),
        "ntp_synced true\nntp_stratum 3\nntp_offset -0.000042731 s\nntp_dispersion 0.000861205 s\nok"
    );
    kitchen.prints(
        "chronyc",
        "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,\
         1.000000000,1.000000000,0.0,Not synchronised",
    );
    assert_eq!(
        kitchen.text(),
        "ntp_synced false\nntp_stratum 0\ncritical: the clock is not synchronised"
    );
    kitchen.tool("chronyc", "echo '506 Cannot talk to daemon'; exit 1");
    kitchen.run().failed(1, "506 Cannot talk to daemon");
}

#[test]
fn ups() {
    let kitchen = Kitchen::of("ups");
    kitchen.tool("upsc", "echo 'Init SSL without certificate database' >&2\ncat <<'EOT'\nbattery.charge: 100\nbattery.charge.low: 10\nbattery.runtime: 2040\nbattery.type: PbAc\ndevice.mfr: \"Example\"\ninput.voltage: 229.0\nups.load: 14\nups.status: OL CHRG\nEOT");
    assert_eq!(
        kitchen.text(),
        "ups_on_mains true\nups_charge 100 %\nups_runtime 2040 s\nups_input 229 V\nups_load 14 %\n\
         ok: OL CHRG"
    );
    kitchen.prints("upsc", "battery.charge: 61\nups.load: 20\nups.status: OB DISCHRG");
    assert_eq!(
        kitchen.text(),
        "ups_on_mains false\nups_charge 61 %\nups_load 20 %\nwarning: OB DISCHRG"
    );
    kitchen.prints("upsc", "battery.charge: 9\nups.status: OB DISCHRG LB");
    assert_eq!(kitchen.text(), "ups_on_mains false\nups_charge 9 %\ncritical: OB DISCHRG LB");
    kitchen.prints("upsc", "ups.status: WAIT");
    assert_eq!(kitchen.text(), "ups_on_mains null\nunknown: WAIT");
    kitchen.prints("upsc", "device.type: ups");
    assert_eq!(kitchen.text(), "ups_on_mains null\nunknown: there is no ups.status");
    kitchen.tool("upsc", "echo 'Error: Connection failure: Connection refused' >&2; exit 1");
    kitchen.run().failed(1, "Connection refused");
}

#[test]
fn nginx() {
    let mut kitchen = Kitchen::of("nginx");
    let page = "Active connections: 291 \nserver accepts handled requests\n 16630948 16630940 31070465 \n\
                Reading: 6 Writing: 179 Waiting: 106 \n";
    let server = super::real::server(&[("/nginx_status", page), ("/other", "hello")]);
    kitchen.env("URL", &format!("{server}/nginx_status"));
    assert_eq!(
        kitchen.text(),
        "nginx_active 291 connections\nnginx_reading 6 connections\nnginx_writing 179 connections\n\
         nginx_waiting 106 connections\nnginx_connections 16630948 connections\n\
         nginx_dropped 8 connections\nnginx_requests 31070465 requests\nok"
    );
    kitchen.env("URL", &format!("{server}/other"));
    kitchen.run().failed(1, "this is not stub_status");
    kitchen.env("URL", &format!("{server}/nothing"));
    kitchen.run().failed(22, "404");
}

/// What a machine without the tool says, whatever else is on it.
#[test]
fn a_tool_that_is_missing_is_named() {
    for (recipe, tool, others) in [
        ("mail_queue", "postqueue", &["jq", "awk"][..]),
        ("apt_updates", "apt-get", &["awk", "date", "stat"]),
        ("gpu", "nvidia-smi", &["awk"]),
        ("zfs", "zpool", &["awk"]),
        ("sensors", "sensors", &["jq"]),
        ("dns", "dig", &["awk"]),
        ("ping", "ping", &["awk"]),
        ("queue_depth", "redis-cli", &[]),
        ("ntp", "chronyc", &["awk"]),
        ("ups", "upsc", &["awk"]),
        ("nginx", "curl", &["awk"]),
        ("postgres", "psql", &[]),
    ] {
        let ran = Kitchen::of(recipe).run_with_only(others);
        assert_ne!(ran.report["outcome"]["code"], 0, "{recipe}");
        assert_eq!(ran.report["status"], "unknown", "{recipe}");
        let said = ran.report["stderr"].as_str().unwrap();
        assert!(said.contains(&format!("{tool}: not found")), "{recipe}: {said}");
        let warnings = ran.report["warnings"].to_string();
        assert!(warnings.contains("command-missing"), "{recipe}: {warnings}");
    }
}

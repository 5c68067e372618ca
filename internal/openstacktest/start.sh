#!/bin/bash
# A real OpenStack control plane (Debian 12: keystone, glance, placement, nova, neutron, cinder)
# without systemd, for tests: nova has the fake driver, so that servers are rows in a database.
# usage: start.sh DIR PORT; it listens on 127.0.0.1 at 12 ports from PORT on, and is up when
# this ends. What it starts has DIR as its HOME, by which stop.sh knows it.
set -eu
D=$1; P=$2
KP=$P; GP=$((P+1)); PP=$((P+2)); NP=$((P+3)); MP=$((P+4)); QP=$((P+5)); CP=$((P+6)); RP=$((P+7)); DP=$((P+8)); EP=$((P+9))
PW=secret; AUTH=http://127.0.0.1:$KP/v3
step(){ echo "$SECONDS s: $*"; }
mkdir -p "$D"/{etc/keystone,etc/placement,log,pid,bin,mysql,rabbit,fernet,cred,images,nova/instances,lock,neutron,cinder}
printf '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n' >"$D/bin/sudo"; chmod +x "$D/bin/sudo"
export PATH="$D/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME="$D" LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=
unset PYENV_ROOT PYTHONPATH PIP_FIND_LINKS http_proxy https_proxy 2>/dev/null || true
run(){ local n=$1; shift; setsid "$@" >>"$D/log/$n.out" 2>&1 </dev/null & echo $! >"$D/pid/$n"; }
wait_http(){ for i in $(seq 1500); do curl -s -o /dev/null --max-time 2 "$1" && return 0; sleep 0.2; done; echo "no answer at $1" >&2; return 1; }
# ---- mariadb, rabbitmq
[ -d "$D/mysql/mysql" ] || mariadb-install-db --no-defaults --user=root --datadir="$D/mysql" --auth-root-authentication-method=normal --skip-test-db >"$D/log/mysql-install" 2>&1
run mysql mariadbd --no-defaults --user=root --datadir="$D/mysql" --socket="$D/mysql.sock" --pid-file="$D/mysql.pid" --skip-networking \
  --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --innodb-buffer-pool-size=64M --performance-schema=0 --max-connections=400 --skip-log-bin
cat >"$D/rabbit/env" <<C
C
RB=$(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin | head -1)
export ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$EP
run rabbit env RABBITMQ_NODENAME=ci@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$RP RABBITMQ_DIST_PORT=$DP \
  RABBITMQ_MNESIA_BASE="$D/rabbit" RABBITMQ_LOG_BASE="$D/rabbit" RABBITMQ_CONF_ENV_FILE="$D/rabbit/env" RABBITMQ_CONFIG_FILE="$D/rabbit/none" \
  RABBITMQ_ENABLED_PLUGINS_FILE="$D/rabbit/plugins" RABBITMQ_PID_FILE="$D/rabbit/pid" \
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none" "$RB/rabbitmq-server"
for i in $(seq 1000); do mariadb --no-defaults -uroot -S "$D/mysql.sock" -e 'select 1' >/dev/null 2>&1 && break; sleep 0.1; done
{ for d in keystone glance placement nova_api nova_cell0 nova neutron cinder; do echo "create database if not exists $d;"; done
  echo "create user if not exists os@localhost identified by 'os'; grant all on *.* to os@localhost;"; } | mariadb --no-defaults -uroot -S "$D/mysql.sock"
step mariadb
DB(){ echo "mysql+pymysql://os:os@localhost/$1?unix_socket=$D/mysql.sock"; }
MQ="rabbit://guest:guest@127.0.0.1:$RP//"
creds(){ cat <<C
auth_url = $AUTH
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = admin
username = admin
password = $PW
region_name = RegionOne
C
}
tok(){ echo "[keystone_authtoken]"; creds; echo "www_authenticate_uri = $AUTH"; echo "service_token_roles = admin"; echo "service_token_roles_required = true"; }
# ---- configuration
cat >"$D/etc/keystone/keystone.conf" <<C
[DEFAULT]
log_file = $D/log/keystone.log
[database]
connection = $(DB keystone)
[fernet_tokens]
key_repository = $D/fernet
[credential]
key_repository = $D/cred
[cache]
enabled = false
[identity]
password_hash_rounds = 4
C
cat >"$D/etc/placement/placement.conf" <<C
[DEFAULT]
log_file = $D/log/placement.log
[placement_database]
connection = $(DB placement)
[api]
auth_strategy = keystone
$(tok)
C
cat >"$D/etc/glance.conf" <<C
[DEFAULT]
bind_host = 127.0.0.1
bind_port = $GP
workers = 0
log_file = $D/log/glance.log
enabled_backends = fs:file
[database]
connection = $(DB glance)
[glance_store]
default_backend = fs
[fs]
filesystem_store_datadir = $D/images
[os_glance_staging_store]
filesystem_store_datadir = $D/images/staging
[os_glance_tasks_store]
filesystem_store_datadir = $D/images/tasks
[paste_deploy]
flavor = keystone
config_file = /etc/glance/glance-api-paste.ini
[oslo_policy]
policy_dirs = $D/none
$(tok)
C
cat >"$D/etc/nova.conf" <<C
[DEFAULT]
host = ci
my_ip = 127.0.0.1
enabled_apis = osapi_compute,metadata
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = $NP
osapi_compute_workers = 1
metadata_listen = 127.0.0.1
metadata_listen_port = $MP
metadata_workers = 1
transport_url = $MQ
state_path = $D/nova
instances_path = $D/nova/instances
compute_driver = fake.FakeDriver
rootwrap_config = /etc/nova/rootwrap.conf
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
[wsgi]
api_paste_config = /etc/nova/api-paste.ini
[api]
auth_strategy = keystone
[api_database]
connection = $(DB nova_api)
[database]
connection = $(DB nova)
$(tok)
[service_user]
send_service_user_token = true
$(creds)
[placement]
$(creds)
[neutron]
$(creds)
[cinder]
catalog_info = volumev3:cinderv3:publicURL
os_region_name = RegionOne
$(creds)
[glance]
api_servers = http://127.0.0.1:$GP
[oslo_concurrency]
lock_path = $D/lock
[quota]
instances = -1
cores = -1
ram = -1
[conductor]
workers = 1
[scheduler]
workers = 1
[vnc]
enabled = false
[spice]
enabled = false
[vif_plug_linux_bridge_privileged]
helper_command = privsep-helper --config-file $D/etc/nova.conf
[nova_sys_admin]
helper_command = privsep-helper --config-file $D/etc/nova.conf
[oslo_policy]
policy_dirs = $D/none
C
cat >"$D/etc/neutron.conf" <<C
[DEFAULT]
host = ci
bind_host = 127.0.0.1
bind_port = $QP
core_plugin = ml2
service_plugins =
transport_url = $MQ
api_workers = 1
rpc_workers = 1
rpc_response_timeout = 15
rpc_state_report_workers = 0
state_path = $D/neutron
api_paste_config = /etc/neutron/api-paste.ini
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
global_physnet_mtu = 1500
[experimental]
linuxbridge = true
[agent]
root_helper = sudo
report_interval = 5
[database]
connection = $(DB neutron)
$(tok)
[nova]
$(creds)
[oslo_concurrency]
lock_path = $D/lock
[ml2]
type_drivers = local
tenant_network_types = local
mechanism_drivers = linuxbridge
extension_drivers = port_security
[securitygroup]
enable_security_group = false
firewall_driver = noop
[vxlan]
enable_vxlan = false
[oslo_policy]
policy_dirs = $D/none
C
cat >"$D/etc/cinder.conf" <<C
[DEFAULT]
host = ci
my_ip = 127.0.0.1
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = $CP
osapi_volume_workers = 1
api_paste_config = /etc/cinder/api-paste.ini
transport_url = $MQ
auth_strategy = keystone
state_path = $D/cinder
glance_api_servers = http://127.0.0.1:$GP
enabled_backends = fake
rootwrap_config = /etc/cinder/rootwrap.conf
[fake]
volume_backend_name = fake
volume_driver = cifile_driver.FileDriver
[database]
connection = $(DB cinder)
$(tok)
[service_user]
send_service_user_token = true
$(creds)
[nova]
$(creds)
[oslo_concurrency]
lock_path = $D/lock
[oslo_policy]
policy_dirs = $D/none
C
# volumes are sparse files: there may be no device-mapper
mkdir -p "$D/py" "$D/cinder/vols"
cat >"$D/py/cifile_driver.py" <<'C'
import os, subprocess
from cinder import interface
from cinder.image import image_utils
from cinder.volume import driver
DIR = os.environ["CIFILE_DIR"]
@interface.volumedriver
class FileDriver(driver.VolumeDriver):
    VERSION = "1.0"
    def _p(self, v): return os.path.join(DIR, v["name"])
    def check_for_setup_error(self): pass
    def get_volume_stats(self, refresh=False):
        return dict(volume_backend_name="fake", vendor_name="ci", driver_version="1.0", storage_protocol="local", total_capacity_gb=1000, free_capacity_gb=1000,
                    reserved_percentage=0, multiattach=False)
    def create_volume(self, v):
        with open(self._p(v), "wb") as f: f.truncate(v["size"] << 30)
    def delete_volume(self, v):
        if os.path.exists(self._p(v)): os.unlink(self._p(v))
    def create_snapshot(self, s): subprocess.check_call(["cp", "--sparse=always", os.path.join(DIR, s["volume_name"]), os.path.join(DIR, s["name"])])
    def delete_snapshot(self, s):
        p = os.path.join(DIR, s["name"])
        if os.path.exists(p): os.unlink(p)
    def create_volume_from_snapshot(self, v, s): subprocess.check_call(["cp", "--sparse=always", os.path.join(DIR, s["name"]), self._p(v)]); os.truncate(self._p(v), v["size"] << 30)
    def create_cloned_volume(self, v, src): subprocess.check_call(["cp", "--sparse=always", self._p(src), self._p(v)]); os.truncate(self._p(v), v["size"] << 30)
    def copy_image_to_volume(self, ctx, v, image_service, image_id, disable_sparse=False):
        image_utils.fetch_to_raw(ctx, image_service, image_id, self._p(v), "1M", size=v["size"], run_as_root=False); os.truncate(self._p(v), v["size"] << 30)
    def extend_volume(self, v, n): os.truncate(self._p(v), n << 30)
    def ensure_export(self, c, v): pass
    def create_export(self, c, v, connector): pass
    def remove_export(self, c, v): pass
    def initialize_connection(self, v, connector): return {"driver_volume_type": "local", "data": {"device_path": self._p(v)}}
    def terminate_connection(self, v, connector, **kw): pass
C
# ---- schemas, two at a time
N="--config-file $D/etc/nova.conf"
( keystone-manage --config-dir "$D/etc/keystone" db_sync && keystone-manage --config-dir "$D/etc/keystone" fernet_setup --keystone-user root --keystone-group root \
  && keystone-manage --config-dir "$D/etc/keystone" credential_setup --keystone-user root --keystone-group root \
  && keystone-manage --config-dir "$D/etc/keystone" bootstrap --bootstrap-password $PW --bootstrap-public-url "$AUTH" --bootstrap-admin-url "$AUTH" --bootstrap-internal-url "$AUTH" --bootstrap-region-id RegionOne
  glance-manage --config-file "$D/etc/glance.conf" db_sync
  OS_PLACEMENT_CONFIG_DIR="$D/etc/placement" placement-manage --config-dir "$D/etc/placement" db sync
  cinder-manage --config-file "$D/etc/cinder.conf" db sync ) >"$D/log/sync1.log" 2>&1 & S1=$!
( nova-manage $N api_db sync && nova-manage $N cell_v2 map_cell0 --database_connection "$(DB nova_cell0)" && nova-manage $N db sync \
  && { nova-manage $N cell_v2 list_cells | grep -q cell1 || nova-manage $N cell_v2 create_cell --name cell1; }
  neutron-db-manage --config-file "$D/etc/neutron.conf" upgrade heads ) >"$D/log/sync2.log" 2>&1 & S2=$!
wait $S1 || { tail -5 "$D/log/sync1.log" >&2; exit 1; }; step "keystone, glance, placement, cinder schemas"
# ---- API servers
wsgi(){ run "$1" uwsgi --plugin python3 --http-socket "127.0.0.1:$2" --wsgi-file "$3" --processes 1 --threads 4 --master --die-on-term --need-app --lazy-apps --add-header 'Connection: close' --enable-threads --buffer-size 65535 --disable-logging; }
OS_KEYSTONE_CONFIG_DIR="$D/etc/keystone" wsgi keystone $KP /usr/bin/keystone-wsgi-public
OS_PLACEMENT_CONFIG_DIR="$D/etc/placement" wsgi placement $PP /usr/bin/placement-api
run glance glance-api --config-file "$D/etc/glance.conf"
wait $S2 || { tail -5 "$D/log/sync2.log" >&2; exit 1; }; step "nova, neutron schemas"
wait_http "$AUTH"; step keystone
OSX="$AUTH" PW=$PW GP=$GP PP=$PP NP=$NP QP=$QP CP=$CP /usr/bin/python3 - <<'PY'
import json,os,urllib.request as u
A=os.environ['OSX'];E=os.environ
def call(m,p,b=None,t=None):
    r=u.Request(A+p,method=m,data=json.dumps(b).encode() if b else None,headers={'Content-Type':'application/json',**({'X-Auth-Token':t} if t else {})})
    f=u.urlopen(r); d=f.read(); return f,json.loads(d) if d else {}
f,_=call('POST','/auth/tokens',{'auth':{'identity':{'methods':['password'],'password':{'user':{'name':'admin','domain':{'id':'default'},'password':E['PW']}}},'scope':{'project':{'name':'admin','domain':{'id':'default'}}}}})
t=f.headers['X-Subject-Token']
have={s['name'] for s in call('GET','/services',t=t)[1]['services']}
L=[('glance','image','http://127.0.0.1:%s'%E['GP']),('placement','placement','http://127.0.0.1:%s'%E['PP']),('nova','compute','http://127.0.0.1:%s/v2.1'%E['NP']),('neutron','network','http://127.0.0.1:%s'%E['QP'])]
L+=[('cinderv3','volumev3','http://127.0.0.1:%s/v3/%%(project_id)s'%E['CP']),('cinder','block-storage','http://127.0.0.1:%s/v3/%%(project_id)s'%E['CP'])]
for n,ty,url in L:
    if n in have: continue
    s=call('POST','/services',{'service':{'name':n,'type':ty}},t)[1]['service']['id']
    for i in ('public','internal','admin'): call('POST','/endpoints',{'endpoint':{'service_id':s,'interface':i,'url':url,'region_id':'RegionOne'}},t)
PY
step catalog
for i in $(seq 1500); do (exec 3<>/dev/tcp/127.0.0.1/$RP) 2>/dev/null && break; sleep 0.2; done; step rabbitmq
Q="--config-file $D/etc/neutron.conf"
# uwsgi closes after each answer; the header above says so, or clients that keep connections alive see random resets
run neutron neutron-server $Q --log-file "$D/log/neutron.log"
run lbagent neutron-linuxbridge-agent $Q --log-file "$D/log/lbagent.log"
run nova-conductor nova-conductor $N --log-file "$D/log/nova-conductor.log"
run nova-scheduler nova-scheduler $N --log-file "$D/log/nova-scheduler.log"
run nova-compute nova-compute $N --log-file "$D/log/nova-compute.log"
run nova-api nova-api $N --log-file "$D/log/nova-api.log"
C="--config-file $D/etc/cinder.conf"
  run cinder-api cinder-api $C --log-file "$D/log/cinder-api.log"
  run cinder-scheduler cinder-scheduler $C --log-file "$D/log/cinder-scheduler.log"
  run cinder-volume env PYTHONPATH="$D/py" CIFILE_DIR="$D/cinder/vols" cinder-volume $C --log-file "$D/log/cinder-volume.log"
wait_http "http://127.0.0.1:$NP/"; wait_http "http://127.0.0.1:$QP/"; wait_http "http://127.0.0.1:$GP/"; step "nova, neutron, glance answer"
# ---- the compute host must be mapped into the cell
for i in $(seq 100); do nova-manage $N cell_v2 discover_hosts --by-service >"$D/log/discover" 2>&1 || true
  mariadb --no-defaults -uroot -S "$D/mysql.sock" -Ne 'select count(*) from nova_api.host_mappings' | grep -qv '^0' && break; sleep 1; done
step "the compute host is mapped"

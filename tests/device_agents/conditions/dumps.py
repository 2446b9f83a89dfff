"""Outputs of Android and of boards, written after the documented formats of their versions."""

from __future__ import annotations

# Android 10: no static thresholds yet
THERMAL_10 = """\
IsStatusOverride: false
ThermalEventListeners:
	callbacks: 1
	killed: false
	broadcasts count: -1
ThermalStatusListeners:
	callbacks: 1
	killed: false
	broadcasts count: -1
Thermal Status: 0
Cached temperatures:
	Temperature{mValue=54.6, mType=0, mName=cpu0-silver-usr, mStatus=0}
	Temperature{mValue=29.9, mType=3, mName=skin-therm-adc, mStatus=0}
HAL Ready: true
HAL connection:
	ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
	Temperature{mValue=34.1, mType=0, mName=cpu0-silver-usr, mStatus=0}
	Temperature{mValue=38.400002, mType=0, mName=cpu1-gold-usr, mStatus=0}
	Temperature{mValue=33.0, mType=1, mName=gpu0-usr, mStatus=0}
	Temperature{mValue=27.0, mType=2, mName=battery, mStatus=0}
	Temperature{mValue=28.4, mType=3, mName=skin-therm-adc, mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=99, mType=2, mName=thermal-cpufreq-0}
"""
# Android 14 and later: thresholds, sensors that are not fitted, more types; light throttling
THERMAL_14 = """\
IsStatusOverride: false
ThermalEventListeners:
	callbacks: 4
	killed: false
	broadcasts count: -1
Thermal Status: 1
Cached temperatures:
	Temperature{mValue=NaN, mType=9, mName=TPU, mStatus=0}
HAL Ready: true
HAL connection:
	Thermal HAL AIDL 1  connected: yes
Current temperatures from HAL:
	Temperature{mValue=41.5, mType=3, mName=VIRTUAL-SKIN, mStatus=1}
	Temperature{mValue=0.0, mType=2, mName=battery2, mStatus=0}
	Temperature{mValue=-1.2E-4, mType=-1, mName=soc, with a comma, mStatus=0}
	Temperature{mValue=NaN, mType=3, mName=quiet, mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=5, mName=tpu_cooling}
Temperature static thresholds from HAL:
	{.type = SKIN, .name = VIRTUAL-SKIN, .hotThrottlingThresholds = [NaN, 39.0, 43.0, 45.0]}
Temperature headroom thresholds:
	[NaN, 0.7, 0.85, NaN]
"""
THERMAL_OVERRIDDEN = "IsStatusOverride: true\nThermal Status: 0\nHAL Ready: false\n"
THERMAL_MISSING = "Can't find service: thermalservice\n"

BATTERY_9 = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 2710000
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 4311
  temperature: 253
  technology: Li-ion
"""
BATTERY_13 = """\
Current Battery Service state:
  (UPDATES STOPPED -- use 'reset' to restart)
  AC powered: true
  USB powered: false
  Wireless powered: true
  Dock powered: false
  status: 5
  health: 2
  present: true
  level: 24
  scale: 100
  voltage: 3711
  temperature: -15
  technology: Li-ion
  Charging state: 0
  Charging policy: 0
LED state:
  level: 3
"""

POWER = "  mWakefulness=Awake\n  mWakefulnessChanging=false\n"
POWER_DOZING = "  mWakefulness=Dozing\n"

# grep -H '' of an SM8150; the prime core's cap is denied
POLICIES = """\
cpufreq/policy0/related_cpus:0 1 2 3
cpufreq/policy4/related_cpus:4 5 6
cpufreq/policy7/related_cpus:7
cpu0/cpufreq/related_cpus:0 1 2 3
cpufreq/policy0/cpuinfo_min_freq:300000
cpufreq/policy4/cpuinfo_min_freq:710400
cpufreq/policy7/cpuinfo_min_freq:825600
cpufreq/policy0/cpuinfo_max_freq:1785600
cpufreq/policy4/cpuinfo_max_freq:2419200
cpufreq/policy7/cpuinfo_max_freq:2841600
cpufreq/policy0/scaling_max_freq:1785600
cpufreq/policy4/scaling_max_freq:1209600
grep: cpufreq/policy7/scaling_max_freq: Permission denied
cpufreq/policy0/scaling_cur_freq:300000
cpufreq/policy0/scaling_governor:schedutil
cpufreq/policy4/scaling_governor:schedutil
cpufreq/policy7/scaling_governor:schedutil
cpufreq/policy0/scaling_driver:qcom-cpufreq-hw
"""
# Kernels before 4.3 know no policy folders; core 5 is offline and has none
POLICIES_OLD = """\
cpu0/cpufreq/related_cpus:0 1 2 3
cpu1/cpufreq/related_cpus:0 1 2 3
cpu4/cpufreq/related_cpus:4 5
cpu0/cpufreq/cpuinfo_max_freq:1401600
cpu1/cpufreq/cpuinfo_max_freq:1401600
cpu4/cpufreq/cpuinfo_max_freq:<unknown>
cpu0/cpufreq/scaling_max_freq:1401600
cpu1/cpufreq/scaling_max_freq:1401600
cpu0/cpufreq/scaling_governor:interactive
"""

DF_TOYBOX = """\
Filesystem      1K-blocks     Used Available Use% Mounted on
/dev/block/dm-8 111104836 27043124  83914640  25% /data
"""
DF_WRAPPED = """\
Filesystem           1K-blocks      Used Available Use% Mounted on
/dev/block/platform/soc/1d84000.ufshc/by-name/userdata
                      55000000  10000000  45000000  18% /data/user/my files
"""
DF_TOOLBOX = """\
Filesystem               Size     Used     Free   Blksize
/data                   25.1G    10.2G    14.9G   4096
"""
MOUNTS = """\
/dev/root / ext4 ro,seclabel,relatime 0 0
/dev/block/dm-8 /data f2fs rw,lazytime,seclabel,nosuid,nodev,noatime 0 0
tmpfs /data/local/tmp tmpfs rw,noexec 0 0
tmpfs /data/local/tmpfs tmpfs rw 0 0
/dev/sda1 /media/my\\040stick vfat rw,noexec 0 0
"""

NVPMODEL = "NV Power Mode: MAXN\n0\n"
NVPMODEL_FAN = (
    "NVPM WARN: fan mode is not set!\nNV Fan Mode:quiet\nNV Power Mode: MODE_15W 6CORE\n2\n"
)

"""Lines in the shapes that the releases of JetPack print, and a tegrastats that is a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from vp3d_bench.power import PowerError, PowerMeter
from vp3d_bench.power.tegrastats import Tegrastats, parse_line

XAVIER_JETPACK_5 = (
    "03-14-2024 09:26:53 RAM 3111/31002MB (lfb 5820x4MB) SWAP 0/15501MB (cached 0MB) "
    "CPU [5%@1190,0%@1190,off,off,3%@1266,0%@1266,off,off] EMC_FREQ 0%@1600 GR3D_FREQ 12%@[318] "
    "VIC_FREQ 115 APE 150 CV0@-256C AUX@37C CPU@38.5C thermal@37.35C GPU@-256C iwlwifi@41C "
    "GPU 308mW/308mW CPU 463mW/386mW SOC 1080mW/1080mW CV 0mW/0mW VDDRQ 154mW/154mW "
    "SYS5V 1890mW/1890mW"
)
ORIN_NANO_JETPACK_5 = (
    "11-02-2023 17:01:05 RAM 2212/6481MB (lfb 5x4MB) SWAP 0/3240MB (cached 0MB) "
    "CPU [12%@1510,9%@1510,7%@1510,8%@1510,0%@729,0%@729] EMC_FREQ 1%@2133 GR3D_FREQ 41%@[624] "
    "NVDEC off NVJPG off NVJPG1 off VIC off OFA off APE 200 CV0@-256C CPU@47.9C SOC2@46.7C "
    "SOC0@46.8C CV1@-256C GPU@46.3C tj@47.9C SOC1@46.5C CV2@-256C "
    "VDD_IN 5211mW/4920mW VDD_CPU_GPU_CV 1422mW/1203mW VDD_SOC 1501mW/1488mW"
)
ORIN_NANO_JETPACK_6 = (
    "05-20-2025 12:00:01 RAM 1830/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [4%@1344,1%@1344,0%@1344,0%@1344,88%@1728,0%@729] GR3D_FREQ 55% cpu@50.187C soc2@49.5C "
    "soc0@48.906C gpu@51.031C tj@51.031C soc1@49.406C VDD_IN 6904mW/6677mW "
    "VDD_CPU_GPU_CV 2109mW/1985mW VDD_SOC 1602mW/1590mW"
)
# github.com/rbonghi/jetson_stats/issues/624, as it was published.
ORIN_BUSY = (
    "05-15-2025 18:30:28 RAM 6982/7620MB (lfb 5x1MB) SWAP 2640/16384MB (cached 202MB) "
    "CPU [97%@1984,95%@1984,95%@1984,91%@1984,88%@1984,93%@247] EMC_FREQ 18%@3199 "
    "GR3D_FREQ 84%@[713] NVENC 1%@115 NVDEC 40%@115 NVJPG off NVJPG1 off VIC 31%@115 OFA off "
    "NVDLA0 off PVA0_FREQ off APE 174 cv0@63.031C cpu@65.562C soc2@64.156C soc0@63.031C "
    "cv1@62.937C gpu@63.5C tj@65.562C soc1@64.718C cv2@60.875C VDD_IN 17946mW/15710mW "
    "VDD_CPU_GPU_CV 8896mW/7585mW VDD_SOC 3923mW/3515mW"
)
# github.com/GDWR/jetson_exporter/issues/14, as it was published.
AGX_ORIN_AT_REST = (
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) "
    "CPU [0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 0%@[0,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C "
    "SOC2@40.093C Tdiode@33C SOC0@41.093C CV1@-256C GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C "
    "VDD_GPU_SOC 2340mW/2340mW VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW "
    "VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
)
AGX_ORIN_JETPACK_6 = (
    "02-11-2025 08:15:30 RAM 8021/62841MB (lfb 3x4MB) SWAP 0/31421MB (cached 0MB) "
    "CPU [1%@2201,off,2%@2188] EMC_FREQ 2%@3199 GR3D_FREQ 10%@[1300,1301] NVENC off APE 174 "
    "cpu@52.9C tj@53.1C VDD_GPU_SOC 5139mW/5010mW VDD_CPU_CV 1268mW/1100mW "
    "VIN_SYS_5V0 4500mW/4480mW VDDQ_VDD2_1V8AO 702mW/700mW"
)
AGX_ORIN_JETPACK_7 = (
    "06-30-2026 10:20:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201] "
    "EMC_FREQ 3%@3199 GR3D_FREQ 12%@[1300,1300] NVENC0 off PVA0_FREQ off APE 174 "
    "cpu@52.968C/55.1C soc2@48.406C/48.406C gpu@47.625C/50C "
    "VDD_GPU_SOC 5139mW/4800mW/9000mW VDD_CPU_CV 3268mW/3268mW/3268mW "
    "VIN_SYS_5V0 5500mW/5500mW/5500mW"
)
THOR_JETPACK_7 = (
    "08-08-2026 20:58:23 RAM 3429/125749MB (lfb 120x4MB) CPU [0%,5%,off]@2601 EMC_FREQ @4266 "
    "GR3D_FREQ @[1574,1575,1574] NVENC0_FREQ @1556 VIC 59%@423 cpu@49.75C/49.75C "
    "tj@51.218C/51.218C gpu@51.218C/51.218C VDD_GPU -12mW/6330mW/6330mW "
    "VDD_CPU_SOC_MSS 7148mW/7148mW/7200mW VIN_SYS_5V0 6807mW/6807mW/6900mW "
    "VIN 28906mW/14453mW/28906mW"
)
THOR_WITHOUT_INPUT = (
    "07-23-2026 15:29:26 RAM 9101/125811MB (lfb 19x4MB) CPU [39%@2160,20%@2430] "
    "EMC_FREQ 7%@3200 GR3D_FREQ @[314,314,314] cpu@34.8C/34.8C tj@35.9C/35.9C "
    "VDD_GPU 4925mW/4925mW/4925mW VDD_CPU_SOC_MSS 8710mW/8710mW/8710mW "
    "VIN_SYS_5V0 6767mW/6767mW/6767mW"
)


@pytest.mark.parametrize(
    ("line", "total_mw", "clocks_mhz", "temperatures_c"),
    [
        (XAVIER_JETPACK_5, 308 + 463 + 1080 + 0 + 154 + 1890, (1266, 318, 1600), {"cpu": 38.5}),
        (ORIN_NANO_JETPACK_5, 5211, (1510, 624, 2133), {"cpu": 47.9, "gpu": 46.3, "tj": 47.9}),
        (ORIN_NANO_JETPACK_6, 6904, (1728, None, None), {"cpu": 50.187, "gpu": 51.031}),
        (ORIN_BUSY, 17946, (1984, 713, 3199), {"cpu": 65.562, "gpu": 63.5, "tj": 65.562}),
        (AGX_ORIN_AT_REST, 2340 + 390 + 4025, (729, 0, 2133), {"cpu": 44.562, "tj": 44.343}),
        (AGX_ORIN_JETPACK_6, 5139 + 1268 + 4500, (2201, 1301, 3199), {"tj": 53.1}),
        (AGX_ORIN_JETPACK_7, 5139 + 3268 + 5500, (2201, 1300, 3199), {"cpu": 52.968}),
        (THOR_JETPACK_7, 28906, (2601, 1575, 4266), {"tj": 51.218}),
        (THOR_WITHOUT_INPUT, 4925 + 8710 + 6767, (2430, 314, 3200), {"tj": 35.9}),
    ],
    ids=[
        "xavier-5", "orin-nano-5", "orin-nano-6", "orin-busy", "agx-orin-at-rest",
        "agx-orin-6", "agx-orin-7", "thor-7", "thor-7-without-input",
    ],
)  # fmt: skip
def test_present_power_clocks_and_temperatures(
    line: str,
    total_mw: float,
    clocks_mhz: tuple[float | None, ...],
    temperatures_c: dict[str, float],
) -> None:
    reading = parse_line(line)
    assert reading.total_mw == total_mw
    names = ("cpu", "gpu", "memory")
    assert tuple(reading.clocks_mhz.get(name) for name in names) == clocks_mhz
    assert temperatures_c.items() <= dict(reading.temperatures_c).items()
    assert min(reading.temperatures_c.values()) > 0, "a sensor that is off is no temperature"


def test_rails_are_told_from_cores_and_temperatures() -> None:
    """On an AGX Xavier the rails have the names that loads and temperatures have too."""
    assert parse_line(XAVIER_JETPACK_5).rails_mw == {
        "GPU": 308, "CPU": 463, "SOC": 1080, "CV": 0, "VDDRQ": 154, "SYS5V": 1890,
    }  # fmt: skip
    assert parse_line(THOR_JETPACK_7).rails_mw["VDD_GPU"] == -12, "sensors have offsets"


def test_an_unknown_board_is_not_guessed() -> None:
    with pytest.raises(PowerError, match="prints the power rails VDD_FOO, VDD_BAR: which of them"):
        parse_line("RAM 1/2MB VDD_FOO 100mW/100mW VDD_BAR 20mW/20mW")
    with pytest.raises(PowerError, match="rails none"):
        parse_line("RAM 1/2MB (lfb 1x4MB)")


def script(folder: Path, body: str) -> str:
    path = folder / "tegrastats"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_running_tegrastats_is_read_until_closed(tmp_path: Path) -> None:
    body = f"while :; do echo '{ORIN_NANO_JETPACK_6}'; sleep 0.01; done"
    source = Tegrastats(script(tmp_path, body))
    assert source.covers == "the module (VDD_IN)"
    with PowerMeter(source) as meter:
        energy = meter.rest(0.3)
    assert energy.mean_mw == pytest.approx(6904)
    assert energy.rails_mj["VDD_SOC"] / energy.seconds == pytest.approx(1602)
    assert not energy.counted
    assert source._process.poll() is not None


def test_a_tegrastats_that_ends_is_told_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(PowerError, match="tegrastats ended with exit code 3: no such board"):
        Tegrastats(script(tmp_path, "echo 'no such board' >&2; exit 3"))


def test_one_that_ends_while_it_is_needed_spoils_the_window(tmp_path: Path) -> None:
    body = f"for i in 1 2 3 4 5 6 7 8; do echo '{ORIN_NANO_JETPACK_6}'; done; exit 1"
    with (
        pytest.raises(PowerError, match="tegrastats ended with exit code 1"),
        PowerMeter(Tegrastats(script(tmp_path, body))) as meter,
    ):
        meter.rest(0.3)


def test_one_that_stays_silent_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(PowerError, match="tegrastats printed nothing in 0.2 s"):
        Tegrastats(script(tmp_path, "exec sleep 60"), patience_s=0.2)


def test_no_tegrastats_is_said() -> None:
    with pytest.raises(PowerError, match="there is no tegrastats-of-nowhere"):
        Tegrastats("tegrastats-of-nowhere")

"""The accuracy of subnets: recalibrated BatchNorm statistics, then the test images."""

from fofa.evaluate.calibrate import calibrate
from fofa.evaluate.kept import load_calibrated

__all__ = ["calibrate", "load_calibrated"]

"""The accuracy of subnets: recalibrated BatchNorm statistics, then the test images."""

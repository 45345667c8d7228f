"""The policy pack: turns a plan of the deployment engine into facts and reports what the rules find."""

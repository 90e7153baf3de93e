"""From a plan to numbers: answers, fidelity, selection metrics, speed."""

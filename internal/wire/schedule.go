package wire

// HeaderScheduleTarget says on which subject the server publishes a scheduled message
// when its time has come (NATS ADR-51). nats.go sets it, with the header for the time,
// in one option, which cuts fractions of a second off the time (1.55.0).
const HeaderScheduleTarget = "Nats-Schedule-Target"

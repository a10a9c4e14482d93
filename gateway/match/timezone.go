package match

import (
	"fmt"
	"time"
	_ "time/tzdata" // filters mean the same where the system has no time zones, as in the image

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// inZone are the functions that take a time apart, in a time zone if they have an
// argument.
var inZone = map[string]bool{
	overloads.TimeGetFullYear:     true,
	overloads.TimeGetMonth:        true,
	overloads.TimeGetDayOfYear:    true,
	overloads.TimeGetDayOfMonth:   true,
	overloads.TimeGetDate:         true,
	overloads.TimeGetDayOfWeek:    true,
	overloads.TimeGetHours:        true,
	overloads.TimeGetMinutes:      true,
	overloads.TimeGetSeconds:      true,
	overloads.TimeGetMilliseconds: true,
}

// timeZoneOf returns the time zone of such a call, if it is a literal.
func timeZoneOf(call ast.Expr) (zone ast.Expr, ok bool) {
	if !inZone[call.AsCall().FunctionName()] || !call.AsCall().IsMemberFunction() || len(call.AsCall().Args()) != 1 {
		return nil, false
	}
	zone = call.AsCall().Args()[0]
	return zone, zone.Kind() == ast.LiteralKind
}

// wrongTimeZone says what is wrong with a time zone, "" if nothing is. The one to
// ask is the function itself.
func wrongTimeZone(zone ast.Expr) string {
	name, _ := zone.AsLiteral().Value().(string)
	if name == "Local" {
		return "time zone \"Local\" is another one on every machine; write a name such as \"Europe/Lisbon\" or an offset such as \"+02:00\""
	}
	hours := types.Timestamp{Time: time.Unix(0, 0)}.Receive(overloads.TimeGetHours, overloads.TimestampToHoursWithTz, []ref.Val{types.String(name)})
	if types.IsError(hours) {
		return fmt.Sprintf("unknown time zone %q; write a name such as \"Europe/Lisbon\" or an offset such as \"+02:00\"", name)
	}
	return ""
}

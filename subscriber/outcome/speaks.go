package outcome

import "net/http"

// SpeaksOfEvent reports whether a status is a verdict on the event that was
// sent, and not on the endpoint: it was read, and this one was refused. It says
// that the endpoint is there, and nothing about the next event.
//
// Those are the 4xx, also the ones that no RFC knows, which count as 400 (RFC
// 9110, section 15). Not among them are those that would be answered to any
// event: they speak of permissions, of the address, or of the moment.
func SpeaksOfEvent(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusProxyAuthRequired,
		http.StatusUnavailableForLegalReasons,
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusLengthRequired, http.StatusRequestURITooLong,
		http.StatusExpectationFailed, http.StatusMisdirectedRequest, http.StatusUpgradeRequired, http.StatusRequestHeaderFieldsTooLarge,
		http.StatusRequestTimeout, http.StatusLocked, http.StatusFailedDependency, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status <= 499
}

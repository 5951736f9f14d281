package payment

import "github.com/stripe/stripe-go/v84"

// reasons are what a buyer is told about a decline. Stripe asks not to tell more
// where a card is reported stolen or a payment looks like fraud: such codes have
// no entry and get the general sentence.
var reasons = map[stripe.DeclineCode]string{
	stripe.DeclineCodeInsufficientFunds:            "the card does not have enough funds",
	stripe.DeclineCodeExpiredCard:                  "the card has expired",
	stripe.DeclineCodeIncorrectCVC:                 "the card's security code is not right",
	stripe.DeclineCodeInvalidCVC:                   "the card's security code is not right",
	stripe.DeclineCodeIncorrectNumber:              "the card's number is not right",
	stripe.DeclineCodeInvalidNumber:                "the card's number is not right",
	stripe.DeclineCodeInvalidExpiryMonth:           "the card's expiry date is not right",
	stripe.DeclineCodeInvalidExpiryYear:            "the card's expiry date is not right",
	stripe.DeclineCodeIncorrectZip:                 "the postal code does not match the card's",
	stripe.DeclineCodeIncorrectPIN:                 "the PIN is not right",
	stripe.DeclineCodeInvalidPIN:                   "the PIN is not right",
	stripe.DeclineCodePINTryExceeded:               "a wrong PIN was given too often; use another card",
	stripe.DeclineCodeAuthenticationRequired:       "the bank wants the payment to be confirmed; try again and confirm it",
	stripe.DeclineCodeCardNotSupported:             "the card cannot be used for this kind of payment",
	stripe.DeclineCodeCurrencyNotSupported:         "the card cannot be charged in this currency",
	stripe.DeclineCodeCardVelocityExceeded:         "the card's limit is reached",
	stripe.DeclineCodeWithdrawalCountLimitExceeded: "the card's limit is reached",
	stripe.DeclineCodeInvalidAmount:                "the amount is more than the card allows",
	stripe.DeclineCodeDuplicateTransaction:         "the bank takes it for a payment made twice; look at your account before you try again",
	stripe.DeclineCodeCallIssuer:                   "the bank declined; it can tell you why",
	stripe.DeclineCodeDoNotHonor:                   "the bank declined; it can tell you why",
	stripe.DeclineCodeIssuerNotAvailable:           "the bank could not be reached; try again, or use another card",
	stripe.DeclineCodeProcessingError:              "the bank could not process the payment; try again in a moment",
	stripe.DeclineCodeReenterTransaction:           "the bank could not process the payment; try again in a moment",
	stripe.DeclineCodeTryAgainLater:                "the bank could not process the payment; try again in a moment",
	stripe.DeclineCodeTestModeDecline:              "a real card was used in test mode",
}

// reason tells a buyer why a payment was declined.
func reason(e *stripe.Error) string {
	if e == nil {
		return "the payment was declined"
	}
	if text, ok := reasons[e.DeclineCode]; ok {
		return text
	}
	if text, ok := reasons[stripe.DeclineCode(e.Code)]; ok { // many are the same words
		return text
	}
	if e.Code == stripe.ErrorCodePaymentIntentAuthenticationFailure {
		return "the payment was not confirmed at the bank"
	}
	return "the card was declined"
}

// refusal tells a buyer why Stripe did not even try.
func refusal(e *stripe.Error) string {
	switch e.Code {
	case stripe.ErrorCodeAmountTooSmall:
		return "the amount is too small to be charged"
	case stripe.ErrorCodeAmountTooLarge:
		return "the amount is too large to be charged at once"
	}
	if e.Param == "currency" {
		return "payments in this currency are not possible"
	}
	return "the payment details were not accepted; please enter them again"
}
